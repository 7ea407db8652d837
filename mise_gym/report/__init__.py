"""One HTML page about a run or a file of recorded episodes; ``build.write_report`` makes it."""
