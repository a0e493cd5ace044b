"""What a job's Python starts with: `python -m codctl.jobs.job_entry FOLDER`, then submitit as ever.

A signal to save that comes while submitit is being imported (seconds, from a busy shared disk) would end the job for
good. So it is held back from the first moment; the job takes it when it can do something about it.
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})


def main() -> None:
    from codctl.startup import begin_process

    begin_process()
    from submitit.core.submission import submitit_main

    submitit_main()


if __name__ == "__main__":
    main()
