"""The engine's own commands; a plugin's command takes none of their names."""

COMMANDS = {
    "run": ("run:run", "Train a recipe's stages in order."),
    "plan": ("plan:plan", "Show what would happen, and measure what it would cost."),
    "check": ("check:check", "Validate recipes."),
    "check-feasibility": ("feasibility:check_feasibility", "Hold the base's error against the correction's bound."),
    "verify-resume": ("verify:verify_resume", "Prove that an interrupted run ends with the same bits."),
    "report": ("report:report", "Write the report of a run again, as one page of HTML."),
    "watch": ("report:watch", "Serve the report of a run while it goes, on 127.0.0.1."),
    "eval": ("evaluation:evaluate", "Measure weights on held-out data."),
    "predict": ("predict:app", "Write what weights answer to files of your own."),
    "plugins": ("plugins:plugins", "List everything that plugins bring."),
    "schema": ("schema:schema", "Print what editors complete recipes by."),
    "new": ("new:app", "Begin a plugin or a recipe of your own."),
    "data": ("data:app", "Inspect data, and pack them."),
    "runs": ("runs:app", "List, show and compare runs, and free disk space."),
}
"""Command -> (its place in engine.cli, a line for the list of commands, which imports none of them)."""
