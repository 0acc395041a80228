"""Networks trained alike and compared: who takes part, the ledger of finished runs, and what it proves."""
