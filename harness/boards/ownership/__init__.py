"""Who may use a board now: owners, leases, agents that nobody owns any more, and tidying up."""
