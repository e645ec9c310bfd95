//! How a config says its rope, in the hub's spelling (`rope_theta` beside `rope_scaling`) and in
//! that of transformers 5 (all in `rope_parameters`).

use super::keys::{BASE, Keys, MULTIPLIER, Range, STRETCH};
use crate::LoadError;
use crate::rope::{Rope, RopeScaling, Yarn};

const ORIGINAL: &str = "original_max_position_embeddings";

/// Of what sines and cosines are multiplied by.
const MAGNITUDE: Range = 1e-3..=1e3;

/// What a family knows before its config says anything about rope.
pub(super) struct RopeDefaults {
    pub(super) theta: f64,
    pub(super) head_dim: usize,
    /// A part of a head may turn, and the rest of it not.
    pub(super) partial: bool,
    /// The longest sequence that will be served, which decides on longrope's factors.
    pub(super) served: usize,
    /// The longest that the model was made for.
    pub(super) context: usize,
}

/// What a config says of a rope outside the table that describes it.
#[derive(Clone, Copy)]
pub(super) struct Beside {
    pub(super) theta: Option<f64>,
    /// Where neither says it.
    pub(super) usual: f64,
    pub(super) dim: usize,
    pub(super) original: Option<usize>,
}

impl Beside {
    pub(super) fn base(self) -> f64 {
        self.theta.unwrap_or(self.usual)
    }
}

/// The one name of a kind that has had two.
fn same_kind(name: &str) -> &str {
    match name {
        "su" => "longrope",
        name => name,
    }
}

impl RopeDefaults {
    /// The rope of a model that has one for all layers.
    pub(super) fn read(&self, keys: &Keys<'_>) -> Result<Rope, LoadError> {
        let beside = Beside {
            theta: keys.number_if("rope_theta", BASE)?,
            usual: self.theta,
            dim: self.turning(keys)?.unwrap_or(self.head_dim),
            // Some files keep it beside the table, and mean the same.
            original: keys.size_if(ORIGINAL)?,
        };
        let spelled = |key| -> Result<Option<Rope>, LoadError> {
            let table = keys.filled_table(key)?;
            table.map(|table| self.of_table(&table, beside)).transpose()
        };
        let (newer, older) = (spelled("rope_parameters")?, spelled("rope_scaling")?);
        if let (Some(newer), Some(older)) = (&newer, &older) {
            refuse_other(keys, newer, older)?;
        }
        Ok(newer
            .or(older)
            .unwrap_or_else(|| Rope::plain(beside.base(), beside.dim)))
    }

    /// How many dimensions of a head turn, where the config says it.
    fn turning(&self, keys: &Keys<'_>) -> Result<Option<usize>, LoadError> {
        let key = "partial_rotary_factor";
        let Some(partial) = keys.number_if(key, MULTIPLIER)? else {
            return Ok(None);
        };
        if !self.partial && partial != 1.0 {
            return Err(keys.refuse(key, "where this architecture is served with 1"));
        }
        let dim = (self.head_dim as f64 * partial) as usize;
        if partial <= 1.0 && dim > 0 && dim.is_multiple_of(2) {
            return Ok(Some(dim));
        }
        let why = format!(
            "where an even part of {} dimensions can turn",
            self.head_dim
        );
        Err(keys.refuse(key, &why))
    }

    /// The rope that one table describes, with what stands beside it where it does not say.
    pub(super) fn of_table(&self, table: &Keys<'_>, beside: Beside) -> Result<Rope, LoadError> {
        let base = match table.number_if("rope_theta", BASE)? {
            Some(base) if beside.theta.is_some_and(|theta| theta != base) => {
                let why = format!("where {} stands beside the table", beside.base());
                return Err(table.refuse("rope_theta", &why));
            }
            Some(base) => base,
            None => beside.base(),
        };
        let dim = self.turning(table)?.unwrap_or(beside.dim);
        let original = beside.original;
        let (new_name, old_name) = (table.text("rope_type")?, table.text("type")?);
        if let (Some(new), Some(old)) = (new_name, old_name)
            && same_kind(new) != same_kind(old)
        {
            return Err(table.refuse("type", "where `rope_type` says otherwise"));
        }
        let kind = new_name.or(old_name).unwrap_or("default");
        let scaling = match kind {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear {
                factor: table.number("factor", STRETCH)?,
            },
            "llama3" => self.llama3(table, original)?,
            // The first files of Phi-3 called it so.
            "yarn" if table.has("short_factor") => self.long(table, dim, original)?,
            "yarn" => RopeScaling::Yarn(self.yarn(table, original)?),
            "longrope" | "su" => self.long(table, dim, original)?,
            _ => {
                return Err(table.refuse(
                    if old_name.is_some() {
                        "type"
                    } else {
                        "rope_type"
                    },
                    "where default, linear, llama3, yarn and longrope are supported",
                ));
            }
        };
        table.finish(|_, _| false)?;
        Ok(Rope { base, dim, scaling })
    }

    fn original(&self, table: &Keys<'_>, beside: Option<usize>) -> Result<f64, LoadError> {
        let within = table.size_if(ORIGINAL)?;
        if let (Some(beside), Some(within)) = (beside, within)
            && beside != within
        {
            let why = format!("where {beside} stands beside the table");
            return Err(table.refuse(ORIGINAL, &why));
        }
        match beside.or(within).unwrap_or(self.context) {
            0 | 1 => Err(table.refuse(ORIGINAL, "where a context of more than one is stretched")),
            original => Ok(original as f64),
        }
    }

    fn llama3(&self, table: &Keys<'_>, original: Option<usize>) -> Result<RopeScaling, LoadError> {
        let low = table.number("low_freq_factor", MULTIPLIER)?;
        let high = table.number("high_freq_factor", MULTIPLIER)?;
        if low >= high {
            let why = format!("where more than `low_freq_factor`, {low}, is expected");
            return Err(table.refuse("high_freq_factor", &why));
        }
        Ok(RopeScaling::Llama3 {
            factor: table.number("factor", STRETCH)?,
            low_frequency_factor: low,
            high_frequency_factor: high,
            original_context: self.original(table, original)?,
        })
    }

    fn yarn(&self, table: &Keys<'_>, original: Option<usize>) -> Result<Yarn, LoadError> {
        let original_context = self.original(table, original)?;
        let factor = table.number_or("factor", self.context as f64 / original_context, STRETCH)?;
        let magnitude_at = |weight: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * weight * factor.ln() + 1.0
            }
        };
        let mscales = (
            table.number_if("mscale", MAGNITUDE)?,
            table.number_if("mscale_all_dim", MAGNITUDE)?,
        );
        let magnitude = match (table.number_if("attention_factor", MAGNITUDE)?, mscales) {
            (Some(magnitude), _) => magnitude,
            (None, (Some(one), Some(all))) => magnitude_at(one) / magnitude_at(all),
            (None, _) => magnitude_at(1.0),
        };
        let fast = table.number_or("beta_fast", 32.0, MULTIPLIER)?;
        let slow = table.number_or("beta_slow", 1.0, MULTIPLIER)?;
        if fast < slow {
            let why = format!("where at least `beta_slow`, {slow}, is expected");
            return Err(table.refuse("beta_fast", &why));
        }
        Ok(Yarn {
            factor,
            fast,
            slow,
            original_context,
            whole: table.switch_or("truncate", true)?,
            magnitude,
        })
    }

    /// Long factors where longer sequences than the original context are served, short ones else:
    /// decided once, because keys that are cached cannot turn again.
    fn long(
        &self,
        table: &Keys<'_>,
        dim: usize,
        original: Option<usize>,
    ) -> Result<RopeScaling, LoadError> {
        let original_context = self.original(table, original)?;
        let short = table.numbers("short_factor", MULTIPLIER)?;
        let long = table.numbers("long_factor", MULTIPLIER)?;
        for (key, factors) in [("short_factor", &short), ("long_factor", &long)] {
            if factors.len() != dim / 2 {
                return Err(table.refuse(key, &format!("where {} factors are needed", dim / 2)));
            }
        }
        let factor = table.number_or("factor", self.context as f64 / original_context, STRETCH)?;
        let usual = match factor <= 1.0 {
            true => 1.0,
            false => (1.0 + factor.ln() / original_context.ln()).sqrt(),
        };
        let is_long = self.served as f64 > original_context;
        Ok(RopeScaling::Long {
            factors: if is_long { long } else { short },
            magnitude: table.number_or("attention_factor", usual, MAGNITUDE)?,
        })
    }
}

/// Where a file has both spellings, transformers 5 goes by the older one and forgets the newer
/// one's base with it, others go by the newer one: only where they agree is it sure what is
/// meant.
pub(super) fn refuse_other(keys: &Keys<'_>, newer: &Rope, older: &Rope) -> Result<(), LoadError> {
    match newer == older {
        true => Ok(()),
        false => Err(keys.refuse("rope_scaling", "where `rope_parameters` says otherwise")),
    }
}
