//! Rotary position embeddings: which variant a configuration asks for, and its frequencies.
//!
//! Formulas as in transformers' `modeling_rope_utils.py`; dynamic NTK also as in InternLM2's own code, YaRN from
//! arXiv 2309.00071, longrope from arXiv 2402.13753.

use std::f64::consts::PI;

use serde_json::Value;

use super::config::Backbone;
use super::fields::Fields;
use crate::Result;

/// Rotary embedding of one model.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Rope {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// Width that is rotated (a head).
    pub dim: usize,
    /// How the series is stretched.
    pub scaling: Scaling,
}

/// How frequencies are stretched for long texts.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Scaling {
    /// Not at all.
    Plain,
    /// Every frequency divided by `factor`.
    Linear {
        /// Divisor.
        factor: f64,
    },
    /// A larger base once the text is longer than the model was made for.
    DynamicNtk {
        /// Stretch.
        factor: f64,
        /// Length up to which nothing changes.
        max_positions: usize,
    },
    /// One factor a frequency, in two sets (Phi3).
    LongRope {
        /// Factors up to the original length.
        short: Vec<f64>,
        /// Factors beyond it.
        long: Vec<f64>,
        /// The original length.
        original: usize,
        /// What cosines and sines are multiplied by.
        attention: f64,
    },
    /// Low frequencies interpolated, high ones kept (GPT-OSS).
    Yarn {
        /// Stretch.
        factor: f64,
        /// The original length.
        original: usize,
        /// Rotations above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which it is interpolated.
        beta_slow: f64,
        /// Whether the ramp's ends are rounded to whole frequencies.
        truncate: bool,
        /// What cosines and sines are multiplied by.
        attention: f64,
    },
    /// Llama 3.1's ramp between kept and interpolated wavelengths.
    Llama3 {
        /// Stretch.
        factor: f64,
        /// Wavelength factor above which frequencies are interpolated.
        low: f64,
        /// Wavelength factor below which they are kept.
        high: f64,
        /// The original length.
        original: usize,
    },
}

impl Rope {
    /// Reads `rope_theta` and `rope_scaling` (transformers 4), or `rope_parameters` (transformers 5).
    ///
    /// # Errors
    /// An unknown kind, or numbers that do not fit the head's width.
    pub fn parse(fields: &Fields<'_>, backbone: Backbone, dim: usize, max_positions: usize) -> Result<Self> {
        let empty = Value::Null;
        let parameters =
            Fields::new(fields.get("rope_parameters").unwrap_or(&empty), "config.json, rope_parameters");
        let scaling_value =
            fields.get("rope_scaling").or_else(|| fields.get("rope_parameters")).unwrap_or(&empty);
        if !scaling_value.is_null() && !scaling_value.is_object() {
            return Err(
                fields.wrong("rope_scaling", &format!("is {scaling_value}, which is no set of fields"))
            );
        }
        let scaling = Fields::new(scaling_value, "config.json, rope_scaling");
        let default_theta = if backbone == Backbone::GptOss { 150_000.0 } else { 10_000.0 };
        let theta = parameters.number("rope_theta", fields.number("rope_theta", default_theta)?)?;
        if theta <= 1.0 {
            return Err(fields.wrong("rope_theta", &format!("is {theta}")));
        }
        let kind = scaling.text("rope_type").or_else(|| scaling.text("type"));
        // GPT-OSS without any scaling means the class default, YaRN x32 from 4096 positions.
        let kind = kind.unwrap_or(if backbone == Backbone::GptOss { "yarn" } else { "default" });
        let original = scaling
            .count_or("original_max_position_embeddings", None)
            .or_else(|_| fields.count_or("original_max_position_embeddings", None));
        let factor = scaling.number("factor", if backbone == Backbone::GptOss { 32.0 } else { 1.0 })?;
        if factor <= 0.0 {
            return Err(scaling.wrong("factor", &format!("is {factor}")));
        }
        let scaling = match kind {
            "default" => Scaling::Plain,
            "linear" => Scaling::Linear { factor },
            "dynamic" => Scaling::DynamicNtk { factor, max_positions },
            "su" | "longrope" => {
                let original = original?;
                let stretch = scaling.number("factor", max_positions as f64 / original as f64)?;
                let attention =
                    if stretch > 1.0 { (1.0 + stretch.ln() / (original as f64).ln()).sqrt() } else { 1.0 };
                let factors = |name: &str| -> Result<Vec<f64>> {
                    let list = scaling.numbers(name)?;
                    if list.len() != dim / 2 || list.iter().any(|f| *f <= 0.0) {
                        return Err(
                            scaling.wrong(name, &format!("does not hold {} factors above 0", dim / 2))
                        );
                    }
                    Ok(list)
                };
                Scaling::LongRope {
                    short: factors("short_factor")?,
                    long: factors("long_factor")?,
                    original,
                    attention: scaling.number("attention_factor", attention)?,
                }
            }
            "yarn" => Scaling::Yarn {
                factor,
                original: original.unwrap_or(if backbone == Backbone::GptOss { 4096 } else { max_positions }),
                beta_fast: scaling.number("beta_fast", 32.0)?,
                beta_slow: scaling.number("beta_slow", 1.0)?,
                truncate: scaling.flag("truncate", backbone != Backbone::GptOss)?,
                attention: scaling.number("attention_factor", yarn_attention(&scaling, factor)?)?,
            },
            "llama3" => Scaling::Llama3 {
                factor,
                low: scaling.number("low_freq_factor", 1.0)?,
                high: scaling.number("high_freq_factor", 4.0)?,
                original: original.unwrap_or(8192),
            },
            other => {
                return Err(scaling.wrong(
                    "rope_type",
                    &format!("is {other:?}; default, linear, dynamic, longrope, yarn and llama3 are known"),
                ));
            }
        };
        Ok(Self { theta, dim, scaling })
    }

    /// Angle per position of every pair of channels (`dim / 2` of them), and what cosines and sines are multiplied
    /// by, for a text of `length` tokens in all.
    ///
    /// In f32 step by step, as the originals compute them: thousands of positions on, a rounding that they do not
    /// make shows in the logits.
    pub fn frequencies(&self, length: usize) -> (Vec<f32>, f32) {
        let wavelengths = |theta: f64| {
            let exponents = (0..self.dim / 2).map(|i| (2 * i) as f32 / self.dim as f32);
            exponents.map(move |e| f64::from(theta as f32).powf(f64::from(e)) as f32)
        };
        let plain = || wavelengths(self.theta).map(|w| 1.0 / w);
        match &self.scaling {
            Scaling::Plain => (plain().collect(), 1.0),
            Scaling::Linear { factor } => (plain().map(|f| f / *factor as f32).collect(), 1.0),
            Scaling::DynamicNtk { factor, max_positions } => {
                let stretch =
                    (factor * length.max(*max_positions) as f64 / *max_positions as f64) - (factor - 1.0);
                let dim = self.dim as f64;
                let theta = if dim > 2.0 { self.theta * stretch.powf(dim / (dim - 2.0)) } else { self.theta };
                (wavelengths(theta).map(|w| 1.0 / w).collect(), 1.0)
            }
            Scaling::LongRope { short, long, original, attention } => {
                let factors = if length > *original { long } else { short };
                let stretched = wavelengths(self.theta).zip(factors).map(|(w, factor)| *factor as f32 * w);
                (stretched.map(|w| 1.0 / w).collect(), *attention as f32)
            }
            Scaling::Yarn { factor, original, beta_fast, beta_slow, truncate, attention } => {
                let ramp = self.yarn_ramp(*original, *beta_fast, *beta_slow, *truncate);
                let blend = |(w, ramp): (f32, f32)| {
                    let kept = 1.0 - ramp;
                    1.0 / (*factor as f32 * w) * (1.0 - kept) + 1.0 / w * kept
                };
                (wavelengths(self.theta).zip(ramp).map(blend).collect(), *attention as f32)
            }
            Scaling::Llama3 { factor, low, high, original } => {
                let original = *original as f64;
                let blend = |f: f32| {
                    let wavelength = (2.0 * PI) as f32 / f;
                    if wavelength > (original / low) as f32 {
                        f / *factor as f32
                    } else if wavelength < (original / high) as f32 {
                        f
                    } else {
                        let smooth = (original as f32 / wavelength - *low as f32) / (high - low) as f32;
                        (1.0 - smooth) * f / *factor as f32 + smooth * f
                    }
                };
                (plain().map(blend).collect(), 1.0)
            }
        }
    }

    /// How far each frequency is interpolated: 0 kept, 1 fully.
    fn yarn_ramp(&self, original: usize, beta_fast: f64, beta_slow: f64, truncate: bool) -> Vec<f32> {
        let dim = self.dim as f64;
        let at =
            |rotations: f64| dim * (original as f64 / (rotations * 2.0 * PI)).ln() / (2.0 * self.theta.ln());
        let (mut low, mut high) = (at(beta_fast), at(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim - 1.0));
        if low == high {
            high += 0.001;
        }
        (0..self.dim / 2).map(|i| ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0)).collect()
    }
}

fn yarn_attention(scaling: &Fields<'_>, factor: f64) -> Result<f64> {
    let mscale = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
    Ok(match (scaling.number("mscale", 0.0)?, scaling.number("mscale_all_dim", 0.0)?) {
        (one, all) if one != 0.0 && all != 0.0 => mscale(one) / mscale(all),
        _ => mscale(1.0),
    })
}
