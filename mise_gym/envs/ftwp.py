"""FTWPEnv: the cooking games of the First TextWorld Problems competition."""

from mise_gym.envs.textworld import TextWorldEnv


class FTWPEnv(TextWorldEnv):
    """The cooking games of First TextWorld Problems: read the recipe, find what it takes, cook, and eat.

    ## Description
    The player is hungry and stands in a house with a kitchen. A cookbook says which ingredients a meal takes, how each is cut
    (sliced, diced, chopped) and cooked (roasted in the oven, fried on the stove, grilled outside). The player finds the
    ingredients, behind closed doors and in a fridge, prepares them exactly as the recipe says, prepares the meal and eats it.
    What is burnt, or prepared in another way, is spoilt, and the game is lost. The games are made by TextWorld's generator of the
    competition when they are first played; games from the competition's archive can be played with ``games=``.

    ## Observation
    What the game prints, as one string. The recipe is shown only where the cookbook is read ("examine cookbook").

    ## Actions
    Any string. One that is a single plain command ("take knife from table", "cook potato with oven", "prepare meal") is sent to
    the game. Chained commands, commands to the interpreter ("save", "restart"), control characters and characters beyond ASCII
    are answered by the environment; like everything that the game does not understand they cost a turn and set
    ``info["valid_action"]`` to ``False``, and ``info["refused_actions"]`` counts them.

    ## Rewards
    There is a point for every ingredient found, every preparation done and the meal eaten. ``reward_mode="sparse"``: the final
    progress (points divided by the maximum) when the episode ends, also when it is lost or truncated. ``reward_mode="dense"``:
    the progress made in each turn.

    ## Episode end
    Terminated when the meal is eaten, or when an ingredient is spoilt. Truncated after ``max_turns`` turns.

    ## Information
    Always ``progress``, ``success`` (the meal is eaten), ``score``, ``max_score``, ``turn``, ``task``, ``split``, ``task_id``
    (the name of the game, which says its level), ``valid_action`` and ``refused_actions`` (how many actions of this episode were
    not passed on to the game). On request (``infos=``): ``admissible_commands`` (sorted), ``policy_commands`` (a plan that wins
    from here; empty in games with limited inventory, ``drop``, for which TextWorld has no plans), ``intermediate_reward`` (1, 0
    or -1: did the last action shorten that plan), ``facts``, ``look``, ``inventory`` and ``walkthrough`` (the generator's
    solution from the start).

    ## Arguments
    - ``level``: the difficulty: a name from the table below, or skills joined by ``+``. ``recipeN``: ingredients of the meal, 1
      to 5. ``takeN``: how many of them must be found; the player has the others from the start. ``goN``: rooms, 1 (left out), 6,
      9 or 12. ``cook``, ``cut``: ingredients must be cooked, cut. ``open``: doors and containers are closed. ``drop``: only a few
      things can be carried at a time. ``mixed``: see Splits. The default is "basic". Levels with many rooms can take more than
      the 50 turns of the default ``max_turns``; see the table.
    - ``num_games``, ``games``, ``split``, ``memoise``, ``isolate`` and the others: as in ``mise/TextWorld-v0``, which is the same
      class with the other challenges.

    ## Options
    ``reset(options=...)`` knows ``game`` (a number in the split, a name as in ``info["task_id"]``, or a path) and ``split``.

    ## Splits
    ``train``, ``valid`` and ``test`` hold ``num_games`` games each, made from seeds that do not overlap. As in the competition,
    ``valid`` and ``test`` have ingredients and preparations that training never shows: they ask whether an agent can cook what it
    has not met. With ``mixed`` in the level all splits draw from all of them, and only the games are new.

    ## Seeding
    The seed decides which game is drawn; the games themselves have no chance in them. The same seed, or the same ``game``,
    and the same actions give the same transcript. Generated games are the same on every machine.

    ## Differences from upstream
    - The competition handed out its games as an archive; here games of any level are made when they are needed.
    - The competition counted points, which are in ``score``; ``success`` is the meal eaten.
    - All that stands here for ``mise/TextWorld-v0``, on which this environment is built.

    ## Version history
    - v0: first version.

    ## References
    - First TextWorld Problems, the competition: https://aka.ms/ftwp
    - Côté et al., "TextWorld: A Learning Environment for Text-based Games", arXiv:1806.11532.
    """
