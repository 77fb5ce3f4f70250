//! Sensitivities that runs share: taken from the database where they were measured before on the
//! same network, images and method, and kept there for the next run.

use crate::{
    domain::{MethodKey, RunId, SensitivityRecord, SubjectDescription},
    quantization::{MeasuredAlone, SingleRounding},
    runner::{RunnerError, comparison::method_key, inputs::data_name},
    search::{Plan, Session},
    store::{BlockingStore, SubjectId},
};

/// Where one run's sensitivities are kept.
pub struct SharedSensitivities {
    /// `None` for a method that does more than to round tensors.
    subject: Option<(SubjectId, MethodKey)>,
    names: Vec<String>,
}

impl SharedSensitivities {
    /// Gives the session what is known already, and notes where the run's are kept.
    ///
    /// A run that goes on gets those it began with.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn of(
        store: &BlockingStore,
        run: RunId,
        plan: &Plan,
        session: &Session,
    ) -> Result<Self, RunnerError> {
        if let Some(linked) = store.run_sensitivities(run)? {
            let subject = Some((linked.subject, method_of(plan)));
            return Ok(Self::knowing(subject, &linked.records, plan, session));
        }
        let shared = Self::on(store, plan, session)?;
        if let Some((subject, method)) = &shared.subject {
            store.link_sensitivities(run, *subject, method)?;
        }
        Ok(shared)
    }

    /// The same before there is a run.
    fn on(store: &BlockingStore, plan: &Plan, session: &Session) -> Result<Self, RunnerError> {
        if plan.request.method.reconstruction.is_some() {
            return Ok(Self::knowing(None, &[], plan, session));
        }
        let (description, method) = (description(plan, session), method_of(plan));
        let subject = match store.find_subject(&description)? {
            Some(subject) => subject.id,
            None => {
                let float = session.sensitivity_float();
                store.add_subject(&description, &float.quality, float.wall_s)?.id
            }
        };
        let records = store.sensitivities(subject, &method)?;
        Ok(Self::knowing(Some((subject, method)), &records, plan, session))
    }

    fn knowing(
        subject: Option<(SubjectId, MethodKey)>,
        records: &[SensitivityRecord],
        plan: &Plan,
        session: &Session,
    ) -> Self {
        session.know_sensitivities(records.iter().map(measured));
        let names = plan.model.layers.iter().map(|layer| layer.name.clone()).collect();
        Self { subject, names }
    }

    /// Measures what the plan's strategy rests on and is not known yet; each figure is kept as it
    /// comes. Nothing for a method that does more than to round tensors.
    ///
    /// # Errors
    /// When a network does not run, or the database cannot be written.
    pub fn complete(
        &self,
        store: &BlockingStore,
        plan: &Plan,
        session: &Session,
    ) -> Result<(), RunnerError> {
        let Some((subject, method)) = &self.subject else { return Ok(()) };
        if !plan.request.strategy.rests_on_sensitivities() {
            return Ok(());
        }
        session.measure_sensitivities(plan, &mut |measured| {
            let records: Vec<_> = measured.iter().map(|one| self.record(one)).collect();
            Ok(store.keep_sensitivities(*subject, method, &records)?)
        })
    }

    fn record(&self, measured: &MeasuredAlone) -> SensitivityRecord {
        let SingleRounding { layer_index, operand, bits } = measured.rounding;
        SensitivityRecord {
            layer_index,
            name: self.names[layer_index].clone(),
            operand,
            bits,
            quality: measured.quality,
            squared_error: measured.squared_error,
        }
    }
}

/// Measures what is missing before any run needs it, as [`SharedSensitivities::complete`] does.
///
/// # Errors
/// When a network does not run, or the database cannot be read or written.
pub fn measure_ahead(
    store: &BlockingStore,
    plan: &Plan,
    session: &Session,
) -> Result<(), RunnerError> {
    SharedSensitivities::on(store, plan, session)?.complete(store, plan, session)
}

fn method_of(plan: &Plan) -> MethodKey {
    method_key(&plan.request.method.to_string(), plan.request.method)
}

fn measured(record: &SensitivityRecord) -> MeasuredAlone {
    let SensitivityRecord { layer_index, operand, bits, quality, squared_error, .. } = *record;
    let rounding = SingleRounding { layer_index, operand, bits };
    MeasuredAlone { rounding, quality, squared_error }
}

/// The subject as `haq sensitivity` names it with as many images of the search split.
fn description(plan: &Plan, session: &Session) -> SubjectDescription {
    SubjectDescription {
        model: plan.model.name.clone(),
        model_digest: plan.model.digest.clone(),
        data: data_name(plan.request.data.as_deref()),
        data_digest: session.sensitivity_digest().to_owned(),
        split: "search".into(),
        images: session.n_sensitivity_images() as u64,
        calibration_images: session.n_calibration_images() as u64,
        seed: plan.request.images_seed(),
    }
}
