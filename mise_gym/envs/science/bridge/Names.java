package misegym;

import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.function.Function;
import scala.collection.immutable.Set;
import scala.reflect.ClassTag$;
import scienceworld.input.InputParser;
import scienceworld.objects.portal.Portal;
import scienceworld.struct.EnvObject;

/**
 * What objects may be called at one moment, seen from one place.
 *
 * The simulator composes the names of every object ("cup", "cup in kitchen", "cup on kitchen", ...) from what the object and its
 * container are called by themselves, and nothing else. So what it composed is remembered for all objects of all episodes.
 */
final class Names {
    /** Enough for all tasks, and some megabytes. */
    private static final int MANY = 20_000;
    private static final Map<String, Names> KNOWN = new HashMap<>();

    /** As they are matched with an input, in the simulator's order. */
    final String[] matched;
    /** As they are listed, in alphabetical order. */
    final String[] listed;

    private Names(EnvObject object, EnvObject place) {
        matched = InputParser.getObjectReferents(object, place);
        listed = (String[]) object.getReferentsWithContainers(place).toArray(ClassTag$.MODULE$.apply(String.class));
        Arrays.sort(listed);
    }

    /** Returns what tells the names of objects; only good until something changes. */
    static Function<EnvObject, Names> now(EnvObject place) {
        Map<EnvObject, Names> told = new IdentityHashMap<>();
        Map<EnvObject, String> containers = new IdentityHashMap<>();
        return object -> told.computeIfAbsent(object, each -> {
            String key = own(each, place);
            if (each.getContainer().isDefined()) {
                key += "\n\n" + containers.computeIfAbsent(each.getContainer().get(), holder -> holder.getReferents().mkString("\n"));
            }
            return known(key, each, place);
        });
    }

    private static Names known(String key, EnvObject object, EnvObject place) {
        Names names = KNOWN.get(key);
        if (names == null) {
            if (KNOWN.size() >= MANY) {
                KNOWN.clear();
            }
            names = new Names(object, place);
            KNOWN.put(key, names);
        }
        return names;
    }

    private static String own(EnvObject object, EnvObject place) {
        Set<String> names = object instanceof Portal ? ((Portal) object).getReferents(place) : object.getReferents();
        return names.mkString("\n");
    }
}
