package misegym;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.Function;
import language.model.ActionRequestDef;
import scala.Option;
import scala.Tuple2;
import scala.Tuple4;
import scienceworld.actions.Action;
import scienceworld.input.InputParser;
import scienceworld.input.InputParser$;
import scienceworld.objects.agent.Agent;
import scienceworld.struct.EnvObject;
import scienceworld.tasks.goals.GoalSequence;
import scienceworld.tasks.goals.ObjMonitor;

/** The simulator's parser, which learns the names of every object once per input instead of once per pattern. */
final class RememberingParser extends InputParser {
    private final boolean reachesEverywhere;
    private Function<EnvObject, Names> names;

    RememberingParser(ActionRequestDef[] definitions) {
        super(definitions);
        reachesEverywhere = Arrays.stream(definitions).anyMatch(ActionRequestDef::isOracleAction);
    }

    /** As the simulator does it, but the objects of the universe are only gathered if an action can reach them. */
    @Override
    public Tuple4<Object, String, String, Option<Action>> parse(
        String input, EnvObject root, EnvObject universe, Agent agent, ObjMonitor monitor, GoalSequence goals, EnvObject place) {
        names = Names.now(place);
        return super.parse(input, root, reachesEverywhere ? universe : agent, agent, monitor, goals, place);
    }

    @Override
    @SuppressWarnings({"rawtypes", "unchecked"})
    public Tuple2<Object, Tuple2<String, EnvObject>[]> matchObj(String input, EnvObject[] objects, EnvObject place) {
        List<Tuple2<String, EnvObject>> found = new ArrayList<>();
        for (EnvObject object : objects) {
            for (String name : names.apply(object).matched) {
                if (input.startsWith(name)) {
                    found.add(new Tuple2<>(input.substring(name.length()).trim(), object));
                }
            }
        }
        return new Tuple2<>(!found.isEmpty(), found.toArray(new Tuple2[0]));
    }

    @Override
    @SuppressWarnings({"rawtypes", "unchecked"})
    public Tuple2<String, EnvObject>[] getAllUniqueReferentsObjList(
        EnvObject[] objects, EnvObject place, boolean includeHidden, boolean recursive) {
        Function<EnvObject, Names> current = Names.now(place);
        String[][] choices = Arrays.stream(objects).map(object -> current.apply(object).listed).toArray(String[][]::new);
        String[] chosen = InputParser$.MODULE$.scienceworld$input$InputParser$$chooseUniqueReferents(choices);
        Tuple2<String, EnvObject>[] named = new Tuple2[objects.length];
        for (int i = 0; i < named.length; i++) {
            named[i] = new Tuple2<>(chosen[i].toLowerCase(), objects[i]);
        }
        Arrays.sort(named, Comparator.comparing(Tuple2::_1));
        return named;
    }
}
