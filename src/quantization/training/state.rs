//! The numbers that change while a network is trained, and views of them for one pass.

use std::cell::RefCell;

use tch::Tensor;

use crate::quantization::training::descent::Variable;

/// A running mean over batches; no gradient reaches it.
#[derive(Debug)]
pub struct Statistic {
    /// Unique; names it in checkpoints.
    pub name: String,
    pub value: Tensor,
    /// What the newest batch counts, from 0 to 1.
    pub rate: f64,
}

/// Everything a checkpoint needs to hold.
#[derive(Debug, Default)]
pub struct State {
    pub variables: Vec<Variable>,
    pub statistics: Vec<Statistic>,
}

impl State {
    /// Adds a variable and says where it stands.
    pub fn add(&mut self, variable: Variable) -> usize {
        self.variables.push(variable);
        self.variables.len() - 1
    }

    /// Adds a statistic and says where it stands.
    pub fn add_statistic(&mut self, name: String, value: Tensor, rate: f64) -> usize {
        self.statistics.push(Statistic { name, value, rate });
        self.statistics.len() - 1
    }

    /// The state as constants, for what inference does.
    pub fn settled(&self) -> Pass {
        let values = self.variables.iter().map(|v| v.value.shallow_clone()).collect();
        self.pass_over(values, Phase { rounds_activations: true, norms_follow_batches: false })
    }

    /// The state as leaves that gradients flow to; for one thread.
    pub fn leaves(&self, phase: Phase) -> Pass {
        let leaf = |v: &Variable| v.value.detach().set_requires_grad(true);
        self.pass_over(self.variables.iter().map(leaf).collect(), phase)
    }

    fn pass_over(&self, values: Vec<Tensor>, phase: Phase) -> Pass {
        let statistics = self.statistics.iter().map(|s| s.value.shallow_clone()).collect();
        Pass { values, statistics, phase, observed: RefCell::default() }
    }
}

/// What a step does beside plain training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    pub rounds_activations: bool,
    /// Whether batch norms use the statistics of the batch, or the running ones.
    pub norms_follow_batches: bool,
}

/// One thread's view of the state for one pass.
pub struct Pass {
    /// By variable.
    pub values: Vec<Tensor>,
    /// By statistic.
    pub statistics: Vec<Tensor>,
    pub phase: Phase,
    /// What the batch adds to statistics.
    observed: RefCell<Vec<(usize, Tensor)>>,
}

impl Pass {
    /// Notes what the batch gives for a statistic.
    pub fn observe(&self, statistic: usize, value: &Tensor) {
        self.observed.borrow_mut().push((statistic, value.detach()));
    }

    pub fn into_observed(self) -> Vec<(usize, Tensor)> {
        self.observed.into_inner()
    }
}
