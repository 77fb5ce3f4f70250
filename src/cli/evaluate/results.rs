//! The figures of an evaluation, as text and JSON.

use serde_json::{Value, json};

use crate::{
    domain::{Measure, Quality},
    quantization::{IntegerMeasured, Measured},
};

/// What was measured on one set of images.
pub struct Results {
    pub n_images: usize,
    pub quantized: Measured,
    pub float: Measured,
    pub integer: Option<IntegerMeasured>,
}

impl Results {
    fn per_second(&self, measured: &Measured) -> f64 {
        self.n_images as f64 / measured.wall_s
    }

    pub fn json(&self) -> Value {
        let shown = |measured: &Measured| {
            json!({
                "quality": quality_json(&measured.quality),
                "wall_s": measured.wall_s,
                "images_per_s": self.per_second(measured),
            })
        };
        let mut object = shown(&self.quantized);
        object["images"] = self.n_images.into();
        object["float"] = shown(&self.float);
        if let Some(integer) = &self.integer {
            object["integer"] = shown(&integer.integer);
            object["integer"]["fake_quantized"] = shown(&integer.fake_quantized);
            object["integer"]["same_class"] = integer.same_class.into();
        }
        object
    }

    /// One line a network.
    pub fn text(&self) -> String {
        let mut rows = vec![("float", self.float), ("quantized", self.quantized)];
        if let Some(integer) = &self.integer {
            rows.push(("fake-quant", integer.fake_quantized));
            rows.push(("integer", integer.integer));
        }
        let line = |(name, measured): &(&str, Measured)| {
            let quality = Measure::ALL.iter().filter_map(|measure| {
                let value = measure.of(&measured.quality)?;
                Some(format!("{measure} {}", measure.show(value)))
            });
            let quality = quality.collect::<Vec<_>>().join("  ");
            format!("{name:<11}{quality}  {:.0} images/s\n", self.per_second(measured))
        };
        let mut text: String = rows.iter().map(line).collect();
        if let Some(integer) = &self.integer {
            text.push_str(&format!(
                "integers and floats that round where they do give the same class to {:.2} % of the images\n",
                integer.same_class * 100.0
            ));
        }
        text
    }
}

fn quality_json(quality: &Quality) -> Value {
    json!({
        "top1": quality.top1,
        "top5": quality.top5,
        "loss": quality.loss,
        "agreement": quality.agreement,
        "kl": quality.kl,
        "mse": quality.mse,
    })
}
