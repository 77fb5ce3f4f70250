//! Training in epochs: draws batches, shares their parts out between threads, takes the steps.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tch::{Device, Tensor};

use crate::{
    domain::BitwidthPolicy,
    network::{Executable, FoldedNorm, Graph},
    quantization::{
        error::QuantizationError,
        evaluate::batch_of,
        quantized_network::Quantizer,
        training::{
            batches::{self, TrainingImages},
            checkpoint,
            descent::{DescentStep, cosine_rate},
            network::{Answer, Blueprint, Lesson},
            settings::{Augmentation, TrainingSettings},
            state::{Pass, Phase, State},
            tuned::TunedNetwork,
        },
    },
};

/// Share of all steps at the end during which batch norms use their running statistics, as
/// inference does.
const SETTLED_SHARE: f64 = 0.2;

/// A network in training: everything that an epoch needs.
pub struct Training {
    blueprint: Blueprint,
    state: State,
    executable: Executable,
    settings: TrainingSettings,
    set: TrainingImages,
    teacher: Option<Teacher>,
    /// Epochs that lie behind.
    epochs_done: u32,
}

/// The float network that answers are compared with.
struct Teacher {
    executable: Executable,
    /// By image, where images are never changed.
    answers: Option<Tensor>,
}

/// One step of an epoch, when it is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Counted from 0 within the epoch.
    pub step: usize,
    pub n_steps: usize,
    pub loss: f64,
}

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// Counted from 0.
    pub epoch: u32,
    /// Mean over the steps, nats.
    pub loss: f64,
    /// Of the epoch's first step.
    pub learning_rate: f64,
}

impl Training {
    /// Starts from the network that the quantizer gives at `policy`.
    ///
    /// - `norms`: batch norms that were folded into the quantizer's network
    ///
    /// # Errors
    /// When settings, images, policy and network do not go together.
    pub fn start(
        quantizer: &Quantizer,
        norms: &[FoldedNorm],
        policy: &BitwidthPolicy,
        set: TrainingImages,
        settings: TrainingSettings,
    ) -> Result<Self, QuantizationError> {
        settings.check().map_err(|reason| QuantizationError::Training { reason })?;
        quantizer.check_trainable()?;
        if set.is_empty() {
            return Err(QuantizationError::NoImages);
        }
        if set.labels.is_none() && settings.distillation == 0.0 {
            return Err(QuantizationError::NothingToLearnFrom);
        }
        let mut one_image: Vec<usize> = set.images.size().iter().map(|&n| n as usize).collect();
        one_image[0] = 1;
        let (blueprint, state) = Blueprint::new(quantizer, norms, policy, &one_image, &settings)?;
        let executable = blueprint.executable()?;
        let teacher = match settings.distillation > 0.0 {
            true => Some(Teacher::new(quantizer.graph(), &set, settings.augmentation)?),
            false => None,
        };
        Ok(Self { blueprint, state, executable, settings, set, teacher, epochs_done: 0 })
    }

    pub fn epochs_done(&self) -> u32 {
        self.epochs_done
    }

    pub fn is_finished(&self) -> bool {
        self.epochs_done >= self.settings.epochs
    }

    /// Steps of each epoch.
    pub fn steps_per_epoch(&self) -> usize {
        batches::steps_per_epoch(self.set.len(), self.settings.batch)
    }

    /// Trains one epoch. After each step `go_on` says whether to; none when it stopped, and then
    /// only a checkpoint of before brings the training back.
    ///
    /// - `threads`: share the parts of a batch out; they change no number
    ///
    /// # Errors
    /// [`QuantizationError::LossNotFinite`] when training has gone astray.
    pub fn epoch(
        &mut self,
        threads: usize,
        go_on: &mut (dyn FnMut(&StepReport) -> bool + Send),
    ) -> Result<Option<EpochReport>, QuantizationError> {
        std::thread::scope(|scope| {
            let learner = scope.spawn(move || {
                // Sums inside an operation depend on how many threads share it.
                tch::set_num_threads(1);
                self.epoch_on_this_thread(threads, go_on)
            });
            learner.join().expect("the learner does not panic")
        })
    }

    fn epoch_on_this_thread(
        &mut self,
        threads: usize,
        go_on: &mut (dyn FnMut(&StepReport) -> bool + Send),
    ) -> Result<Option<EpochReport>, QuantizationError> {
        let TrainingSettings { batch, seed, augmentation, .. } = self.settings;
        let epoch = self.epochs_done;
        let order = batches::epoch_order(self.set.len(), batch, seed, epoch);
        let n_steps = order.len();
        let mut total = 0.0;
        for (step, chosen) in order.iter().enumerate() {
            let images = batches::draw(&self.set, chosen, augmentation, seed, epoch, step);
            let number = u64::from(epoch) * n_steps as u64 + step as u64;
            let loss = self.step(&images, chosen, number, threads)?;
            if !loss.is_finite() {
                return Err(QuantizationError::LossNotFinite { epoch, step, loss });
            }
            total += loss;
            if !go_on(&StepReport { step, n_steps, loss }) {
                return Ok(None);
            }
        }
        self.epochs_done += 1;
        let learning_rate = self.rate(u64::from(epoch) * n_steps as u64);
        Ok(Some(EpochReport { epoch, loss: total / n_steps as f64, learning_rate }))
    }

    fn n_steps(&self) -> u64 {
        u64::from(self.settings.epochs) * self.steps_per_epoch() as u64
    }

    fn rate(&self, number: u64) -> f64 {
        cosine_rate(self.settings.learning_rate, number, self.n_steps())
    }

    /// One step; gives the loss of before.
    fn step(
        &mut self,
        images: &Tensor,
        chosen: &[i64],
        number: u64,
        threads: usize,
    ) -> Result<f64, QuantizationError> {
        let settled = (self.n_steps() as f64 * (1.0 - SETTLED_SHARE)) as u64;
        let phase = Phase {
            rounds_activations: number >= self.settings.delay_steps,
            norms_follow_batches: number < settled,
        };
        let lessons = self.lessons(images, chosen);
        let weights: Vec<f64> = lessons
            .iter()
            .map(|lesson| lesson.images.size()[0] as f64 / chosen.len() as f64)
            .collect();
        let answers = self.answers(lessons, phase, threads)?;
        let loss = answers.iter().zip(&weights).map(|(answer, weight)| answer.loss * weight).sum();
        let step = DescentStep {
            rate: self.rate(number),
            momentum: self.settings.momentum,
            weight_decay: self.settings.weight_decay,
        };
        for (at, variable) in self.state.variables.iter_mut().enumerate() {
            let parts = answers.iter().zip(&weights);
            let parts = parts.filter_map(|(answer, weight)| {
                answer.gradients[at].as_ref().map(|gradient| gradient * *weight)
            });
            // A variable that no loss depends on, such as a step before roundings set in, stays.
            if let Some(gradient) = parts.reduce(|sum, part| sum + part) {
                variable.descend(&gradient, &step)?;
            }
        }
        self.follow(&answers)?;
        Ok(loss)
    }

    /// Moves the statistics towards the mean of what the parts of the batch observed.
    fn follow(&mut self, answers: &[Answer]) -> Result<(), QuantizationError> {
        let _no_grad = tch::no_grad_guard();
        for (at, statistic) in self.state.statistics.iter_mut().enumerate() {
            let observed: Vec<&Tensor> = answers
                .iter()
                .flat_map(|answer| &answer.observed)
                .filter(|(of, _)| *of == at)
                .map(|(_, value)| value)
                .collect();
            if !observed.is_empty() {
                let mean =
                    Tensor::f_stack(&observed, 0)?.f_mean_dim([0].as_slice(), false, None)?;
                let _ = statistic.value.f_lerp_(&mean, statistic.rate)?;
            }
        }
        Ok(())
    }

    /// A batch in parts.
    fn lessons(&self, images: &Tensor, chosen: &[i64]) -> Vec<Lesson> {
        let labels = batches::labels_of(&self.set, chosen);
        let answers = self.teacher.as_ref().and_then(|teacher| teacher.answers.as_ref());
        let answers = answers.map(|all| all.index_select(0, &Tensor::from_slice(chosen)));
        let part = |tensor: &Option<Tensor>, (start, length): (i64, i64)| {
            tensor.as_ref().map(|tensor| tensor.narrow(0, start, length))
        };
        batches::shards(images.size()[0])
            .into_iter()
            .map(|range| Lesson {
                images: images.narrow(0, range.0, range.1),
                labels: part(&labels, range),
                float_outputs: part(&answers, range),
            })
            .collect()
    }

    /// What each part of a batch says, in their order.
    fn answers(
        &self,
        lessons: Vec<Lesson>,
        phase: Phase,
        threads: usize,
    ) -> Result<Vec<Answer>, QuantizationError> {
        let n_workers = threads.clamp(1, lessons.len());
        let teacher = self.teacher.as_ref().map(|teacher| &teacher.executable);
        if n_workers == 1 {
            let answer = |lesson| {
                let pass = self.state.leaves(phase);
                answer(&self.blueprint, &self.executable, teacher, pass, lesson)
            };
            return lessons.into_iter().map(answer).collect();
        }
        let n_lessons = lessons.len();
        let waiting: Vec<Mutex<Option<Lesson>>> =
            lessons.into_iter().map(|lesson| Mutex::new(Some(lesson))).collect();
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Result<Answer, QuantizationError>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..n_workers {
                // A tensor may move to a thread but not be shared: each worker has its own.
                let passes: Vec<_> = (0..n_lessons).map(|_| self.state.leaves(phase)).collect();
                let (executable, teacher) =
                    (self.executable.share(), teacher.map(Executable::share));
                let (waiting, next, done, blueprint) = (&waiting, &next, &done, &self.blueprint);
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    for pass in passes {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(lesson) = waiting.get(index) else { break };
                        let lesson = lesson.lock().expect("no worker panics").take();
                        let lesson = lesson.expect("each lesson is taken once");
                        let answer = answer(blueprint, &executable, teacher.as_ref(), pass, lesson);
                        done.lock().expect("no worker panics").push((index, answer));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("no worker panics");
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, answer)| answer).collect()
    }

    /// The network as it is now, for inference.
    ///
    /// # Errors
    /// When libtorch cannot copy it.
    pub fn network(&self) -> Result<TunedNetwork, QuantizationError> {
        self.blueprint.settle(&self.state)
    }

    /// Everything that changed since the start: [`Training::restore`] goes on from it, bit for
    /// bit.
    ///
    /// # Errors
    /// When libtorch cannot copy it.
    pub fn checkpoint(&self) -> Result<Vec<u8>, QuantizationError> {
        checkpoint::write(&self.state, self.epochs_done)
    }

    /// Goes on from a checkpoint of a training that started alike.
    ///
    /// # Errors
    /// [`QuantizationError::Checkpoint`] when it is another training's, or damaged.
    pub fn restore(&mut self, checkpoint: &[u8]) -> Result<(), QuantizationError> {
        self.epochs_done = checkpoint::read(&mut self.state, checkpoint)?;
        Ok(())
    }
}

fn answer(
    blueprint: &Blueprint,
    executable: &Executable,
    teacher: Option<&Executable>,
    pass: Pass,
    mut lesson: Lesson,
) -> Result<Answer, QuantizationError> {
    if let (Some(teacher), None) = (teacher, &lesson.float_outputs) {
        lesson.float_outputs = Some(teacher.run(&lesson.images)?.flatten(1, -1));
    }
    blueprint.answer(executable, pass, &lesson)
}

impl Teacher {
    fn new(
        float: &Graph,
        set: &TrainingImages,
        augmentation: Augmentation,
    ) -> Result<Self, QuantizationError> {
        let executable = Executable::new(float, Device::Cpu)?;
        let answers = match augmentation {
            Augmentation::None => {
                let batches = set.images.split(batch_of(&set.images) as i64, 0);
                let answers = batches.iter().map(|batch| Ok(executable.run(batch)?.flatten(1, -1)));
                let answers: Vec<Tensor> = answers.collect::<Result<_, QuantizationError>>()?;
                Some(Tensor::f_cat(&answers, 0)?)
            }
            _ => None,
        };
        Ok(Self { executable, answers })
    }
}
