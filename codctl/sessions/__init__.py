"""Sessions of agent programs in one form: read from what others leave, masked, made into rows, written as ATIF."""
