"""The Java half of ScienceWorld: ``bridge.jar`` answers one turn in one round trip; its sources lie beside it."""
