"""Run files that `mambaseg export` wrote, each in the engine that it is for."""
