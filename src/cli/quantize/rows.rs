//! Rows of a comparison over several seeds.

use serde::Serialize;
use serde_json::{Value, json};

use super::Results;
use crate::{
    domain::{Cost, LayerBits, Measure, Quality, QuantizationRecord, SubjectDescription},
    report::mean_and_deviation,
    runner::Comparison,
};

/// What one seed gave.
pub struct Seed {
    pub description: SubjectDescription,
    pub comparison: Comparison,
}

/// Mean and standard deviation over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    /// Of a sample; none for a single seed.
    pub deviation: Option<f64>,
}

impl Spread {
    /// None without a value, and when one is missing.
    pub fn of(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        let (mean, deviation) = mean_and_deviation(&values)?;
        Some(Self { mean, deviation })
    }
}

/// One method at one choice of bits.
pub struct Row {
    pub method: String,
    pub bits: LayerBits,
    pub size_bytes: u64,
    /// By the measure, more is better.
    pub quality: Option<Spread>,
    /// Quality less the float network's on the same seed.
    pub to_float: Option<Spread>,
    pub kl: Option<Spread>,
    pub agreement: Option<Spread>,
    pub calibrate_s: Option<Spread>,
    pub round_s: Option<Spread>,
    pub evaluate_s: Option<Spread>,
    /// Modelled, where a profile was given.
    pub modelled: Option<Cost>,
    seeds: Vec<(u64, QuantizationRecord)>,
}

impl Row {
    pub fn json(&self, float_size_bytes: u64) -> Value {
        let seeds = self.seeds.iter().map(|(seed, record)| {
            json!({
                "seed": seed,
                "quality": record.quality,
                "calibrate_s": record.calibrate_s,
                "round_s": record.round_s,
                "evaluate_s": record.evaluate_s,
            })
        });
        json!({
            "method": self.method,
            "weight_bits": self.bits.weight,
            "activation_bits": self.bits.activation,
            "size_bytes": self.size_bytes,
            "size_ratio": self.size_bytes as f64 / float_size_bytes as f64,
            "quality": self.quality,
            "to_float": self.to_float,
            "kl": self.kl,
            "agreement": self.agreement,
            "calibrate_s": self.calibrate_s.map(|spread| spread.mean),
            "round_s": self.round_s.map(|spread| spread.mean),
            "evaluate_s": self.evaluate_s.map(|spread| spread.mean),
            "modelled": self.modelled,
            "seeds": seeds.collect::<Vec<_>>(),
        })
    }
}

impl Results {
    pub fn float_quality(&self) -> Option<Spread> {
        let of = |seed: &Seed| self.measure.of(&seed.comparison.float.quality);
        Spread::of(self.seeds.iter().map(of))
    }
}

/// The rows of all seeds together, in the order in which they were asked for.
pub fn of_seeds(
    seeds: &[Seed],
    measure: Measure,
    modelled: impl Fn(&QuantizationRecord) -> Option<Cost>,
) -> Vec<Row> {
    let mut keys: Vec<(String, LayerBits)> = Vec::new();
    for record in seeds.iter().flat_map(|seed| &seed.comparison.rows) {
        let key = (record.method.name.clone(), record.bits);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let row = |(method, bits): (String, LayerBits)| {
        let same =
            |record: &&QuantizationRecord| record.method.name == method && record.bits == bits;
        let found: Vec<(&Seed, &QuantizationRecord)> = seeds
            .iter()
            .filter_map(|seed| Some((seed, seed.comparison.rows.iter().find(same)?)))
            .collect();
        let spread = |of: &dyn Fn(&Quality) -> Option<f64>| {
            Spread::of(found.iter().map(|(_, record)| of(&record.quality)))
        };
        let seconds = |of: &dyn Fn(&QuantizationRecord) -> f64| {
            Spread::of(found.iter().map(|(_, record)| Some(of(record))))
        };
        let to_float = |(seed, record): &(&Seed, &QuantizationRecord)| {
            Some(measure.of(&record.quality)? - measure.of(&seed.comparison.float.quality)?)
        };
        let (_, first) = found.first()?;
        Some(Row {
            size_bytes: first.size_bytes,
            quality: spread(&|quality| measure.of(quality)),
            to_float: Spread::of(found.iter().map(to_float)),
            kl: spread(&|quality| quality.kl),
            agreement: spread(&|quality| quality.agreement),
            calibrate_s: seconds(&|record| record.calibrate_s),
            round_s: seconds(&|record| record.round_s),
            evaluate_s: seconds(&|record| record.evaluate_s),
            modelled: modelled(first),
            seeds: found.iter().map(|(seed, r)| (seed.description.seed, (*r).clone())).collect(),
            method,
            bits,
        })
    };
    keys.into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_needs_two_values_and_all_of_them() {
        let of = |values: &[Option<f64>]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[Some(0.5)]), Some(Spread { mean: 0.5, deviation: None }));
        assert_eq!(of(&[Some(0.5), None]), None);
        let spread = of(&[Some(1.0), Some(2.0), Some(3.0)]).unwrap();
        assert_eq!((spread.mean, spread.deviation), (2.0, Some(1.0)));
    }
}
