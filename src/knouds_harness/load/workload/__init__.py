"""Which keys run what: accounts, the tasks of a scenario, the plan and its cost, the limits."""
