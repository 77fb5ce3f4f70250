-- Images after which judging stopped, for the policy could no longer be the answer; its quality
-- then is an estimate for all images. NULL where all were looked at.
ALTER TABLE episodes ADD COLUMN stopped_after_images INTEGER CHECK (stopped_after_images > 0);

-- As before, of the episodes that were judged on all images.
DROP VIEW pareto_front;
CREATE VIEW pareto_front AS
SELECT run, episode, kind, objective_cost, quality, latency_s, energy_j, size_bytes, peak_memory_bytes, policy
FROM (
    SELECT
        run_id         AS run,
        episode_index  AS episode,
        kind,
        objective_cost,
        quality,
        latency_s,
        energy_j,
        size_bytes,
        peak_memory_bytes,
        policy,
        max(quality) OVER (
            PARTITION BY run_id
            ORDER BY objective_cost, quality DESC, episode_index
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )              AS best_cheaper_quality
    FROM episodes
    WHERE meets_budgets = 1 AND stopped_after_images IS NULL
        AND quality IS NOT NULL AND objective_cost IS NOT NULL
)
WHERE best_cheaper_quality IS NULL OR quality > best_cheaper_quality;
