//! Which proposer a strategy is, for a new run and for one that goes on.

use crate::{
    domain::{BitwidthPolicy, Strategy},
    runner::RunnerError,
    search::{
        DdpgProposer, EvolutionProposer, HaqProposer, ListProposer, Observer, Plan, Planner,
        Proposer, RandomProposer, Session, agent_config,
    },
    store::SavedCheckpoint,
};

/// Limits that greedy and ilp work out policies for where the search covers a range.
const LIMITS_OVER_A_RANGE: u32 = 32;

pub fn new_proposer(plan: &Plan, session: &Session) -> Result<Box<dyn Proposer>, RunnerError> {
    let (space, seed) = (plan.space.clone(), plan.request.seed);
    Ok(match plan.request.strategy {
        Strategy::Ddpg => {
            let config = agent_config(&plan.space);
            let proposer = DdpgProposer::new(space, observer(plan), config, seed)?;
            Box::new(proposer.with_starts(session.starts(plan)?))
        }
        Strategy::Haq => Box::new(HaqProposer::new(space, &plan.workload.layers, seed)?),
        Strategy::Random => Box::new(RandomProposer::new(space, seed)),
        Strategy::Uniform => Box::new(ListProposer::new(plan.uniform_policies())),
        Strategy::Greedy => Box::new(ListProposer::new(planned(plan, session, Planner::Greedy)?)),
        Strategy::Ilp => {
            Box::new(ListProposer::new(planned(plan, session, Planner::IntegerProgramme)?))
        }
        Strategy::Evolution => Box::new(EvolutionProposer::new(space, seed)),
    })
}

/// The proposer as it was after the last committed episode.
pub fn restored_proposer(
    plan: &Plan,
    session: &Session,
    saved: Option<&SavedCheckpoint>,
) -> Result<Box<dyn Proposer>, RunnerError> {
    let deltas = saved.map_or(&[][..], |saved| &saved.deltas);
    let space = plan.space.clone();
    match (plan.request.strategy, saved.and_then(|saved| saved.state.as_ref())) {
        (Strategy::Ddpg, Some((_, state))) if !state.is_empty() => {
            let config = agent_config(&plan.space);
            let restored = DdpgProposer::restore(space, observer(plan), config, state, deltas)?;
            let proposals = deltas.len().saturating_sub(plan.references().len());
            if proposals >= Session::MOST_STARTS {
                return Ok(Box::new(restored));
            }
            Ok(Box::new(restored.with_starts(session.starts(plan)?)))
        }
        (Strategy::Haq, Some((_, state))) if !state.is_empty() => {
            Ok(Box::new(HaqProposer::restore(space, &plan.workload.layers, state, deltas)?))
        }
        (Strategy::Evolution, _) => {
            Ok(Box::new(EvolutionProposer::restore(space, plan.request.seed, deltas)?))
        }
        _ => new_proposer(plan, session),
    }
}

fn planned(
    plan: &Plan,
    session: &Session,
    planner: Planner,
) -> Result<Vec<BitwidthPolicy>, RunnerError> {
    let losses = session.sensitivities(plan)?;
    Ok(planner.policies(plan, &losses, LIMITS_OVER_A_RANGE.min(plan.request.episodes))?)
}

fn observer(plan: &Plan) -> Observer {
    Observer::new(&plan.workload.layers, plan.budgets.is_empty())
}
