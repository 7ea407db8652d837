"""The LLM-PPO trainer: collect -> judge -> advantages -> update, with a policy that judges itself in hindsight.

Where to begin, and what comes next:

1. **The run.** ``run`` goes through the stages of a run in its folder, with ``config``; ``learning`` is the loop of
   iterations, with ``metrics``, ``checkpoint`` and ``validation``; ``evaluate`` and ``plots`` say what came of it.
2. **The tasks.** ``tasks`` is the table of environments, ``task_sets/`` has one file each; ``demonstrations`` has experts play
   and labels turns, ``warm_start`` learns from that.
3. **An episode in tokens.** ``text`` writes it, with ``frame`` around it and the hindsight questions behind it; ``trace`` records
   what was chosen.
4. **Playing.** ``players`` share the tasks, ``rollout`` plays one wave, ``decoding`` writes the turns in the ``forms`` that
   ``writers`` hands out, with ``trie``, ``choices`` and ``cache``; or a ``server`` writes.
5. **The update.** ``ppo`` from top to bottom, then ``credit``, ``advantages``, ``batch``, ``reading``, ``losses``, ``scaling``.
6. **The model.** ``policy`` acts, values (``critic``) and judges; ``model`` builds a tiny one; ``preparation``, ``placement``,
   ``adapter``, ``reference`` and ``memory`` make, place and measure it; ``export`` hands it on.
7. **Many processes.** ``distributed``, ``sharding``, ``shards``.
"""
