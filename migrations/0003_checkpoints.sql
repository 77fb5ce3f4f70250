-- The latest state of a run that may be resumed: agent and random state after one episode,
-- in the search's own encoding. Replaced in place; gone once the run completed.
CREATE TABLE checkpoints (
    run_id        INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    episode_index INTEGER NOT NULL, -- the episode it was taken after
    state         BLOB    NOT NULL
) STRICT;

-- What each episode added to the replay buffer, in the search's own encoding: together with
-- the state above all that is needed to go on. Gone once the run completed.
CREATE TABLE checkpoint_deltas (
    run_id        INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    episode_index INTEGER NOT NULL,
    delta         BLOB    NOT NULL,
    PRIMARY KEY (run_id, episode_index)
) STRICT;
