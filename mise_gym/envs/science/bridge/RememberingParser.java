package misegym;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import language.model.ActionRequestDef;
import scala.Option;
import scala.Tuple2;
import scala.Tuple4;
import scienceworld.actions.Action;
import scienceworld.input.InputParser;
import scienceworld.objects.agent.Agent;
import scienceworld.struct.EnvObject;
import scienceworld.tasks.goals.GoalSequence;
import scienceworld.tasks.goals.ObjMonitor;

/** The simulator's parser, which asks every object for its names once per input instead of once per pattern. */
final class RememberingParser extends InputParser {
    private final Map<EnvObject, String[]> names = new IdentityHashMap<>();

    RememberingParser(ActionRequestDef[] definitions) {
        super(definitions);
    }

    @Override
    public Tuple4<Object, String, String, Option<Action>> parse(
        String input, EnvObject root, EnvObject universe, Agent agent, ObjMonitor monitor, GoalSequence goals, EnvObject place) {
        names.clear();
        return super.parse(input, root, universe, agent, monitor, goals, place);
    }

    @Override
    @SuppressWarnings({"rawtypes", "unchecked"})
    public Tuple2<Object, Tuple2<String, EnvObject>[]> matchObj(String input, EnvObject[] objects, EnvObject place) {
        List<Tuple2<String, EnvObject>> found = new ArrayList<>();
        for (EnvObject object : objects) {
            for (String name : names.computeIfAbsent(object, each -> InputParser.getObjectReferents(each, place))) {
                if (input.startsWith(name)) {
                    found.add(new Tuple2<>(input.substring(name.length()).trim(), object));
                }
            }
        }
        return new Tuple2<>(!found.isEmpty(), found.toArray(new Tuple2[0]));
    }
}
