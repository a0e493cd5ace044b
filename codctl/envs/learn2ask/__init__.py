"""Learn2Ask: one question, or the end of the interview. What must be known before it may end is hidden."""
