//! The rope of a GGUF file: keys for its base and scaling, tensors for factors of each pair.

use super::Keys;
use crate::LoadError;
use crate::config::keys::{BASE, STRETCH};
use crate::gguf::names::{ROPE_DIVISORS, ROPE_DIVISORS_LONG, ROPE_DIVISORS_SHORT, key};
use crate::rope::{Rope, RopeScaling, Yarn};

impl Keys<'_> {
    /// The rope, and that of layers with a window where it is another.
    pub(super) fn ropes(
        &self,
        head_dim: usize,
        lengths: (usize, usize),
    ) -> Result<Vec<Rope>, LoadError> {
        let dim = self.size_if(key::ROPE_DIMENSIONS)?.unwrap_or(head_dim);
        if dim > head_dim || !dim.is_multiple_of(2) {
            let why = format!("where an even part of {head_dim} dimensions can turn");
            return Err(self.refuse(key::ROPE_DIMENSIONS, why));
        }
        let base = self.number(key::ROPE_BASE, BASE)?.unwrap_or(10_000.0);
        let scaling = self.scaling(dim, lengths)?;
        let mut ropes = vec![Rope { base, dim, scaling }];
        if let Some(usual) = self.architecture.local_rope_base {
            let base = self.number(key::LOCAL_ROPE_BASE, BASE)?.unwrap_or(usual);
            ropes.push(Rope::plain(base, dim));
        }
        Ok(ropes)
    }

    fn scaling(
        &self,
        dim: usize,
        (served, context): (usize, usize),
    ) -> Result<RopeScaling, LoadError> {
        let original = self.size_if(key::ROPE_ORIGINAL_CONTEXT)?.unwrap_or(context);
        let older = self.stretch(key::OLD_ROPE_FACTOR)?;
        let factor = self.stretch(key::ROPE_FACTOR)?.or(older);
        let kind = self.get::<&str>(key::ROPE_SCALING)?;
        let magnitude = self.positive(key::ROPE_ATTENTION_FACTOR)?;
        let divisors = match (self.gguf.contains(ROPE_DIVISORS), served > original) {
            (true, _) => Some(ROPE_DIVISORS),
            (false, true) => Some(ROPE_DIVISORS_LONG),
            (false, false) => Some(ROPE_DIVISORS_SHORT),
        };
        if let Some(tensor) = divisors.filter(|tensor| self.gguf.contains(tensor)) {
            let is_more = matches!(kind, Some("linear" | "yarn"));
            if is_more || (factor.is_some() && kind != Some("none")) {
                let key = if is_more {
                    key::ROPE_SCALING
                } else {
                    key::ROPE_FACTOR
                };
                let why = format!("beside the tensor `{tensor}`, which is a scaling of its own");
                return Err(self.refuse(key, why));
            }
            return Ok(RopeScaling::Long {
                factors: self.divisors(tensor, dim / 2)?,
                magnitude: magnitude.unwrap_or(1.0),
            });
        }
        if magnitude.is_some_and(|magnitude| magnitude != 1.0) {
            let why = "where it is served beside factors for each pair only".to_owned();
            return Err(self.refuse(key::ROPE_ATTENTION_FACTOR, why));
        }
        match (kind, factor) {
            (None | Some("none"), None) => Ok(RopeScaling::None),
            (Some("none"), _) => Ok(RopeScaling::None),
            (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor }),
            (Some("yarn"), Some(factor)) => self.yarn(factor, original),
            (Some(_), _) => Err(self.refuse(
                key::ROPE_SCALING,
                "where none, linear and yarn are served, and longrope with its factors".to_owned(),
            )),
        }
    }

    /// What a context was stretched by; 1 is not at all.
    fn stretch(&self, key: &str) -> Result<Option<f64>, LoadError> {
        Ok(self.number(key, STRETCH)?.filter(|factor| *factor != 1.0))
    }

    fn yarn(&self, factor: f64, original: usize) -> Result<RopeScaling, LoadError> {
        let extrapolation = self.get::<f64>(key::YARN_EXTRAPOLATION)?;
        if extrapolation.is_some_and(|weight| weight != 1.0) {
            return Err(self.refuse(key::YARN_EXTRAPOLATION, "where 1 is served".to_owned()));
        }
        let usual = if factor <= 1.0 {
            1.0
        } else {
            0.1 * factor.ln() + 1.0
        };
        Ok(RopeScaling::Yarn(Yarn {
            factor,
            fast: self.positive(key::YARN_BETA_FAST)?.unwrap_or(32.0),
            slow: self.positive(key::YARN_BETA_SLOW)?.unwrap_or(1.0),
            original_context: original as f64,
            whole: true,
            magnitude: self.positive(key::YARN_ATTENTION_FACTOR)?.unwrap_or(usual),
        }))
    }

    fn divisors(&self, name: &str, count: usize) -> Result<Vec<f64>, LoadError> {
        let tensor = self.gguf.tensor(name)?;
        let shape = || LoadError::TensorShape {
            tensor: name.to_owned(),
            found: tensor.shape.clone(),
            expected: vec![count],
        };
        if tensor.shape != [count] || tensor.bytes().len() != 4 * count {
            return Err(shape());
        }
        let numbers = tensor.bytes().chunks_exact(4);
        let numbers = numbers.map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        let divisors: Vec<f64> = numbers.collect();
        match divisors
            .iter()
            .position(|divisor| !(divisor.is_finite() && *divisor > 0.0))
        {
            Some(row) => Err(LoadError::NotFinite {
                tensor: name.to_owned(),
                row,
            }),
            None => Ok(divisors),
        }
    }
}
