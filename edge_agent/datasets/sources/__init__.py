"""Where labelled images come from: each module gathers `Draft`s and lists what it could not take."""
