//! What a policy costs on one device, or on several that it has to be good on.

use haq_simulator::{CostError, CostModel, HardwareProfile, Workload};

use crate::{
    domain::{BitwidthPolicy, Cost, CostKind, LayerBits},
    quantization::Method,
    search::{evaluator::PolicyCost, weights_only::cost_model},
};

/// A network on one device.
#[derive(Debug, Clone)]
pub struct DeviceCost {
    /// Name inside the profile.
    pub profile: String,
    pub model: CostModel,
    /// Of the 8/8 policy there.
    pub eight_bit: Cost,
}

/// A network on one device or several.
///
/// On several, each of a policy's costs is that on the device where it is the largest share of
/// what 8/8 costs there, in units of the first device: a ratio to 8/8 that holds for it holds on
/// every device.
#[derive(Debug, Clone)]
pub struct JointCost {
    /// At least one.
    devices: Vec<DeviceCost>,
}

impl JointCost {
    /// - `profiles`: at least one
    /// - `batch`: images at once; each profile's own where absent
    ///
    /// # Errors
    /// When a device cannot run the network.
    pub fn new(
        method: &Method,
        profiles: &[HardwareProfile],
        workload: &Workload,
        batch: Option<u64>,
    ) -> Result<Self, CostError> {
        let eight_bit = vec![LayerBits::EIGHT; workload.layers.len()];
        let on = |profile: &HardwareProfile| {
            let batch = batch.unwrap_or(profile.batch());
            let model = cost_model(method, profile, workload, batch)?;
            let eight_bit = model.total(&eight_bit);
            Ok::<_, CostError>(DeviceCost { profile: profile.name().to_owned(), model, eight_bit })
        };
        Ok(Self { devices: profiles.iter().map(on).collect::<Result<_, _>>()? })
    }

    /// At least one.
    pub fn devices(&self) -> &[DeviceCost] {
        &self.devices
    }

    /// The device whose units the costs are in.
    pub fn first(&self) -> &DeviceCost {
        &self.devices[0]
    }
}

impl PolicyCost for JointCost {
    fn cost(&self, policy: &BitwidthPolicy) -> Cost {
        let (first, others) = self.devices.split_first().expect("there is a device");
        let own = first.model.total(policy.layers());
        let others: Vec<(Cost, &DeviceCost)> =
            others.iter().map(|other| (other.model.total(policy.layers()), other)).collect();
        let largest = |kind: CostKind| {
            let in_units_of_first = |(cost, other): &(Cost, &DeviceCost)| {
                cost.get(kind) / other.eight_bit.get(kind) * first.eight_bit.get(kind)
            };
            // A cost that a device does not have is no reason against a policy.
            let shares = others.iter().map(in_units_of_first).filter(|cost| cost.is_finite());
            shares.fold(own.get(kind), f64::max)
        };
        Cost {
            latency_s: largest(CostKind::Latency),
            energy_j: largest(CostKind::Energy),
            size_bytes: largest(CostKind::Size).ceil() as u64,
            peak_memory_bytes: largest(CostKind::Memory).ceil() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Bits, Layer};

    fn profile(name: &str) -> HardwareProfile {
        let text = haq_simulator::profile::builtin(name).expect("it is built in");
        HardwareProfile::parse(text, name).unwrap()
    }

    fn joint(names: &[&str]) -> JointCost {
        let profiles: Vec<HardwareProfile> = names.iter().map(|name| profile(name)).collect();
        let layers =
            vec![Layer::linear("one".into(), 64, 32), Layer::linear("two".into(), 32, 128)];
        let workload = Workload::of_layers(layers);
        JointCost::new(&Method::default(), &profiles, &workload, None).unwrap()
    }

    proptest! {
        #[test]
        fn a_ratio_to_eight_bits_is_the_largest_of_the_devices(
            bits in prop::collection::vec(2u8..=8, 4)
        ) {
            let bits: Vec<Bits> = bits.into_iter().filter_map(Bits::new).collect();
            let policy = BitwidthPolicy::new(bits.chunks(2).map(|b| LayerBits::new(b[0], b[1])).collect());
            let names = ["bismo-edge", "bitfusion", "edge-tpu"];
            let ratio = |costs: &JointCost, kind: CostKind| {
                costs.cost(&policy).get(kind) / costs.first().eight_bit.get(kind)
            };
            let all = joint(&names);
            for kind in [CostKind::Latency, CostKind::Energy] {
                let each = names.iter().map(|name| ratio(&joint(&[name]), kind));
                let largest = each.fold(0.0, f64::max);
                prop_assert!((ratio(&all, kind) - largest).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn one_device_costs_what_its_model_says() {
        let costs = joint(&["bitfusion"]);
        let policy = BitwidthPolicy::uniform(2, LayerBits::EIGHT);
        assert_eq!(costs.cost(&policy), costs.first().model.total(policy.layers()));
    }
}
