package misegym;

import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import main.scala.scienceworld.runtime.SimplifierProcessor;
import scala.Option;
import scala.Tuple2;
import scala.Tuple3;
import scala.collection.immutable.Map;
import scala.reflect.ClassTag$;
import scienceworld.actions.PossibleAction;
import scienceworld.environments.EnvironmentMaker;
import scienceworld.input.ActionDefinitions;
import scienceworld.input.InputParser;
import scienceworld.objects.agent.Agent;
import scienceworld.runtime.AgentInterface;
import scienceworld.runtime.pythonapi.PythonInterface;
import scienceworld.struct.EnvObject;
import scienceworld.tasks.Task;
import util.UniqueIdentifier;

/** One episode, with a copy of its own of what the simulator keeps for all episodes together. */
final class World {
    private static final Field PARSER = Chance.field(AgentInterface.class, "inputParser");
    /** What the simulator says when an action leaves it speechless. */
    private static final String UNKNOWN = "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of "
        + "possible object referents. ";

    private static final Tasks TASKS = Tasks.count();

    private static World active;

    private final Random chance = new Random(0);
    private long objectCount;
    private String simplifications = "";
    private AgentInterface agent;
    private double score;
    private boolean isDone;

    /** Forget that a world is the active one, so that it can be collected. */
    static void leave(World world) {
        if (active == world) {
            active = null;
        }
    }

    String load(String task, int variation, String wished, int wanted) {
        enter();
        TASKS.make(task, variation, chance);
        chance.setSeed(variation);
        Tuple2<EnvObject, Agent> made = EnvironmentMaker.mkKitchenEnvironment(variation);
        Tuple2<Option<Task>, String> setUp = TASKS.doTaskSetup(task, variation, made._1(), made._2());
        if (setUp._1().isEmpty()) {
            throw new IllegalArgumentException(setUp._2());
        }
        agent = new AgentInterface(made._1(), made._2(), setUp._1().get(), wished);
        simplifications = agent.simplificationStr(); // "easy" is spelled out in there
        Chance.set(PARSER, agent, new RememberingParser(agent.actionHandler().getActions()));
        return step("look around", wanted);
    }

    String step(String action, int wanted) {
        enter();
        return reply(act(action), wanted);
    }

    String gold(String task, int variation, String wished) {
        enter();
        try {
            PythonInterface server = new PythonInterface();
            String error = server.load(task, variation, wished, true);
            if (!error.isEmpty()) {
                throw new IllegalArgumentException(error);
            }
            return String.join("\n", server.getGoldActionSequence());
        } finally {
            leave(this);
        }
    }

    private String act(String action) {
        switch (action.trim().toLowerCase()) {
            case "help":
                return "Possible actions: \n\t" + String.join("\n\t", agent.getPossibleActions());
            case "objects":
                return "Possible object references: \n\t" + String.join("\n\t", agent.getPossibleObjects());
            case "task":
                return "Task description:\n" + agent.getTaskDescription();
            default:
                Tuple3<String, Object, Object> result = agent.step(action);
                score = (Double) result._2();
                isDone = (Boolean) result._3();
                return result._1().isEmpty() ? UNKNOWN : result._1();
        }
    }

    private String reply(String text, int wanted) {
        List<Object> fields = new ArrayList<>();
        fields.add(score);
        fields.add(isDone ? 1 : 0);
        fields.add(agent.inputParser().isInAmbiguousState() ? 1 : 0);
        fields.add(agent.getCurIterations());
        fields.add(agent.isInErrorState() ? agent.getErrorStateMessage() : "");
        fields.add(text);
        if ((wanted & Bridge.LOOK) != 0) {
            fields.add(agent.freeActionLook());
        }
        if ((wanted & Bridge.INVENTORY) != 0) {
            fields.add(agent.freeActionInventory());
        }
        if ((wanted & Bridge.VALID) != 0) {
            fields.add(String.join("\n", validActions()));
        }
        if ((wanted & Bridge.TASK) != 0) {
            fields.add(agent.getTaskDescription());
        }
        return fields.stream().map(String::valueOf).collect(Collectors.joining(Bridge.SEPARATOR));
    }

    /** The simulator breaks ties between names by chance; here always in the same way, and without touching the episode's chance. */
    private String[] validActions() {
        Chance.use(new Random(0));
        try {
            boolean canTeleport = simplifications.toLowerCase().contains("teleport");
            return canTeleport || agent.inputParser().isInAmbiguousState()
                ? agent.getValidActionObjectCombinations() : validActionsHere();
        } finally {
            Chance.use(chance);
        }
    }

    /** As the simulator does it, but without the objects of the other rooms, which only teleporting needs. */
    private String[] validActionsHere() {
        EnvObject room = agent.getAgentVisibleObjects(false)._2();
        EnvObject[] visible =
            (EnvObject[]) InputParser.collectObjects(room, false).toArray(ClassTag$.MODULE$.apply(EnvObject.class));
        Map<Object, String> names = agent.inputParser().getAllUniqueReferentsLUTObjList(visible, room, true, true);
        PossibleAction[] actions =
            ActionDefinitions.mkPossibleActions(agent.agent(), visible, new EnvObject[0], names, names);
        String[] lines = new String[actions.length];
        for (int i = 0; i < actions.length; i++) {
            lines[i] = actions[i].mkHumanReadableStr();
        }
        return lines;
    }

    /** Put this world's share of the simulator's global state in place. */
    private void enter() {
        if (active == this) {
            return;
        }
        if (active != null) {
            active.objectCount = UniqueIdentifier.count();
        }
        Chance.use(chance);
        UniqueIdentifier.count_$eq(objectCount);
        SimplifierProcessor.parseSimplificationStr(simplifications);
        active = this;
    }
}
