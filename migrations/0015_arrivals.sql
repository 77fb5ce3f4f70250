-- Which proposal of the run an episode judges, from 0: policies of a fleet may be judged in another
-- order than they were proposed in. NULL for references, and in runs of before.
ALTER TABLE episodes ADD COLUMN proposal_index INTEGER;

-- The worker of a fleet that judged it; NULL where the search's own process did, or nobody had to.
ALTER TABLE episodes ADD COLUMN worker TEXT;
ALTER TABLE episodes ADD COLUMN device TEXT;           -- as the worker's machine calls it
ALTER TABLE episodes ADD COLUMN libtorch_version TEXT;
ALTER TABLE episodes ADD COLUMN evaluation_s REAL;     -- of the evaluation alone

-- JSON: what was proposed and not judged yet when the state was taken; NULL where nothing was.
ALTER TABLE checkpoints ADD COLUMN in_flight TEXT;
