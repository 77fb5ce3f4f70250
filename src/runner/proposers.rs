//! Which proposer a strategy is, for a new run and for one that goes on.

use crate::{
    domain::{BitwidthPolicy, Strategy},
    runner::RunnerError,
    search::{
        DdpgInputs, DdpgProposer, EvolutionProposer, HaqProposer, Limits, ListProposer, Plan,
        Planner, PolicyCost as _, Proposer, RandomProposer, Session,
    },
    store::SavedCheckpoint,
};

/// Limits that greedy and ilp work out policies for where the search covers a range.
const LIMITS_OVER_A_RANGE: u32 = 32;

pub fn new_proposer(plan: &Plan, session: &Session) -> Result<Box<dyn Proposer>, RunnerError> {
    let (space, seed) = (plan.space.clone(), plan.request.seed);
    Ok(match plan.request.strategy {
        Strategy::Ddpg => Box::new(DdpgProposer::new(ddpg_inputs(plan, session)?)?),
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

/// The proposer as it was after the last committed episode, but for what it has to witness.
pub fn restored_proposer(
    plan: &Plan,
    session: &Session,
    saved: Option<&SavedCheckpoint>,
) -> Result<Box<dyn Proposer>, RunnerError> {
    let deltas = saved.map_or(&[][..], |saved| &saved.deltas);
    match (plan.request.strategy, saved.and_then(|saved| saved.state.as_ref())) {
        (Strategy::Ddpg, Some((_, state))) if !state.is_empty() => {
            let inputs = ddpg_inputs(plan, session)?;
            Ok(Box::new(DdpgProposer::restore(inputs, state, deltas)?))
        }
        (Strategy::Haq, Some((_, state))) if !state.is_empty() => {
            let space = plan.space.clone();
            Ok(Box::new(HaqProposer::restore(space, &plan.workload.layers, state, deltas)?))
        }
        (Strategy::Evolution, _) => {
            let space = plan.space.clone();
            Ok(Box::new(EvolutionProposer::restore(space, plan.request.seed, deltas)?))
        }
        _ => new_proposer(plan, session),
    }
}

fn ddpg_inputs<'a>(plan: &'a Plan, session: &Session) -> Result<DdpgInputs<'a>, RunnerError> {
    let losses = session.losses(plan)?;
    let starts = session.starts(plan, &losses)?;
    let cost = |policy: &BitwidthPolicy| plan.cost.cost(policy);
    let limits = Limits::of(&plan.space, &cost, &plan.budgets, plan.objective);
    Ok(DdpgInputs {
        space: plan.space.clone(),
        cost: Box::new(plan.cost.clone()),
        limits,
        layers: &plan.workload.layers,
        losses,
        starts,
        episodes: plan.request.episodes,
        seed: plan.request.seed,
    })
}

fn planned(
    plan: &Plan,
    session: &Session,
    planner: Planner,
) -> Result<Vec<BitwidthPolicy>, RunnerError> {
    let losses = session.sensitivities(plan)?;
    Ok(planner.policies(plan, &losses, LIMITS_OVER_A_RANGE.min(plan.request.episodes))?)
}
