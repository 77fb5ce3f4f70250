//! The thread of a worker that judges: network and images of the last testbeds stay set up, and
//! whatever an evaluation does, the worker's other thread goes on saying that it is alive.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    evaluation::{Evaluation, Finding},
    testbed::{Testbed, TestbedBytes},
};
use crate::{
    network::{ComputeDevice, LIBTORCH_VERSION},
    quantization::EvaluationSettings,
    search::{PolicyEvaluator as _, Session},
};

/// Testbeds that stay set up.
const N_SET_UP: usize = 2;

/// A testbed with its files, for a judge who does not have it set up.
pub struct Delivered {
    pub testbed: Testbed,
    pub files: TestbedBytes,
}

enum Question {
    IsSetUp(String, oneshot::Sender<bool>),
    Judge(Box<Evaluation>, Option<Box<Delivered>>, oneshot::Sender<Result<Finding, String>>),
}

/// Asks the judging thread.
#[derive(Clone)]
pub struct Bench {
    questions: mpsc::Sender<Question>,
}

impl Bench {
    /// Starts the thread; it ends with the last handle on it.
    pub fn start(settings: EvaluationSettings, device: ComputeDevice) -> Self {
        let (questions, asked) = mpsc::channel();
        std::thread::spawn(move || {
            let mut judge = Judge { settings, device, set_up: Vec::new() };
            for question in asked {
                // Who asked may be gone.
                match question {
                    Question::IsSetUp(digest, answer) => {
                        let _ = answer.send(judge.set_up.iter().any(|(own, _)| *own == digest));
                    }
                    Question::Judge(evaluation, delivered, answer) => {
                        let _ = answer.send(judge.judge_safely(&evaluation, delivered));
                    }
                }
            }
        });
        Self { questions }
    }

    /// Whether the testbed of this digest needs no delivery.
    pub async fn is_set_up(&self, digest: &str) -> bool {
        let (answer, told) = oneshot::channel();
        let asked = self.questions.send(Question::IsSetUp(digest.to_owned(), answer));
        asked.is_ok() && told.await.unwrap_or(false)
    }

    /// - `delivered`: the evaluation's testbed, where it is not set up
    ///
    /// # Errors
    /// In words, what went wrong; also a panic.
    pub async fn judge(
        &self,
        evaluation: Evaluation,
        delivered: Option<Delivered>,
    ) -> Result<Finding, String> {
        let (answer, told) = oneshot::channel();
        let question = Question::Judge(Box::new(evaluation), delivered.map(Box::new), answer);
        let gone = || "the judging thread is gone".to_owned();
        self.questions.send(question).map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

struct Judge {
    settings: EvaluationSettings,
    device: ComputeDevice,
    /// By digest; the one used last comes last.
    set_up: Vec<(String, Session)>,
}

impl Judge {
    fn judge_safely(
        &mut self,
        evaluation: &Evaluation,
        delivered: Option<Box<Delivered>>,
    ) -> Result<Finding, String> {
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(evaluation, delivered)));
        judged.unwrap_or_else(|panic| {
            // Whatever it was in the middle of is not to be trusted.
            self.set_up.clear();
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("the evaluation panicked: {}", words.unwrap_or("without a word")))
        })
    }

    fn judge(
        &mut self,
        evaluation: &Evaluation,
        delivered: Option<Box<Delivered>>,
    ) -> Result<Finding, String> {
        let digest = &evaluation.testbed.digest;
        match self.set_up.iter().position(|(own, _)| own == digest) {
            Some(index) => {
                let used = self.set_up.remove(index);
                self.set_up.push(used);
            }
            None => {
                let Delivered { testbed, files } =
                    *delivered.ok_or("the testbed was not delivered")?;
                // Room first: two large networks may be all that fits.
                while self.set_up.len() >= N_SET_UP {
                    self.set_up.remove(0);
                }
                let session = testbed.set_up(files, self.settings);
                self.set_up.push((digest.clone(), session.map_err(|error| error.to_string())?));
            }
        }
        let (_, session) = self.set_up.last().expect("one was just put there");
        let start = Instant::now();
        let judged = session.judge(&evaluation.trial(), evaluation.measure);
        let judged = judged.map_err(|error| error.to_string())?;
        Ok(Finding {
            quality: judged.quality,
            stopped_after_images: judged.stopped_after_images,
            arithmetic: session.arithmetic().into(),
            wall_s: start.elapsed().as_secs_f64(),
            device: self.device.name.clone(),
            libtorch_version: LIBTORCH_VERSION.into(),
        })
    }
}
