"""ScienceWorld behind the environment: its tasks, the Java machine of this process, and the simulator's own solutions."""
