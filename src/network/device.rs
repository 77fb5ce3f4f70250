//! What a device is called, and which others give the same figures.

use std::fs;

use tch::Device;

/// Of the libtorch that the program is bound to.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// A device that networks run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeDevice {
    /// As the machine calls it.
    pub name: String,
    /// Devices of one class give equal figures, to the last digit: the kind of device and the
    /// program's version, in letters, digits and hyphens.
    pub class: String,
}

impl ComputeDevice {
    pub fn of(device: Device) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        match device {
            Device::Cuda(index) => {
                let name = graphics_card(index).unwrap_or_else(|| "CUDA device".into());
                Self { class: slug(&format!("{name} haq {version}")), name }
            }
            _ => Self {
                name: processor().unwrap_or_else(|| std::env::consts::ARCH.into()),
                class: slug(&format!("cpu {} haq {version}", instructions())),
            },
        }
    }
}

/// The widest instructions that libtorch and the kernels here choose their loops by: sums are taken
/// in another order with others.
fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512vnni") && has!("avx512bw") && has!("avx512vl") {
            "avx512vnni"
        } else if has!("avx512f") {
            "avx512"
        } else if has!("avx2") {
            "avx2"
        } else {
            "x86-64"
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// As NVIDIA's driver calls it.
fn graphics_card(index: usize) -> Option<String> {
    let mut cards: Vec<_> = fs::read_dir("/proc/driver/nvidia/gpus").ok()?.flatten().collect();
    // The driver names their folders by their places on the bus, by which CUDA counts as well.
    cards.sort_by_key(fs::DirEntry::path);
    let text = fs::read_to_string(cards.get(index)?.path().join("information")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Model:"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Small letters, digits, and single hyphens between them.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_letters_digits_and_hyphens_and_holds_the_version() {
        assert_eq!(slug("NVIDIA H100 80GB HBM3 haq 0.1.0"), "nvidia-h100-80gb-hbm3-haq-0-1-0");
        let own = ComputeDevice::of(Device::Cpu);
        assert!(own.class.starts_with("cpu-"), "{own:?}");
        assert!(own.class.ends_with(&slug(env!("CARGO_PKG_VERSION"))), "{own:?}");
    }
}
