//! How a config says its rope, in the hub's spelling (`rope_theta` beside `rope_scaling`) and in
//! that of transformers 5 (all in `rope_parameters`).

use super::keys::Keys;
use crate::LoadError;
use crate::rope::{Rope, RopeScaling, Yarn};

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

impl RopeDefaults {
    /// The rope of a model that has one for all layers.
    pub(super) fn read(&self, keys: &Keys<'_>) -> Result<Rope, LoadError> {
        let theta = keys.number_or("rope_theta", self.theta)?;
        let dim = self.turning(keys)?.unwrap_or(self.head_dim);
        // Some files keep it beside the table, and mean the same.
        let original = keys.size_if("original_max_position_embeddings")?;
        let (newer, older) = (keys.table("rope_parameters")?, keys.table("rope_scaling")?);
        match newer.or(older) {
            Some(table) => self.of_table(&table, (theta, dim), original),
            None => Ok(Rope::plain(theta, dim)),
        }
    }

    /// How many dimensions of a head turn, where the config says it.
    fn turning(&self, keys: &Keys<'_>) -> Result<Option<usize>, LoadError> {
        let key = "partial_rotary_factor";
        let Some(partial) = keys.number_if(key)? else {
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

    /// The rope that one table describes; `theta` and `dim` where it does not say.
    pub(super) fn of_table(
        &self,
        table: &Keys<'_>,
        (theta, dim): (f64, usize),
        original: Option<usize>,
    ) -> Result<Rope, LoadError> {
        let base = table.number_or("rope_theta", theta)?;
        let dim = self.turning(table)?.unwrap_or(dim);
        let old_name = table.text("type")?;
        let kind = table.text("rope_type")?.or(old_name).unwrap_or("default");
        let scaling = match kind {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear {
                factor: table.number("factor")?,
            },
            "llama3" => RopeScaling::Llama3 {
                factor: table.number("factor")?,
                low_frequency_factor: table.number("low_freq_factor")?,
                high_frequency_factor: table.number("high_freq_factor")?,
                original_context: self.original(table, original)?,
            },
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
        let within = table.size_if("original_max_position_embeddings")?;
        Ok(beside.or(within).unwrap_or(self.context) as f64)
    }

    fn yarn(&self, table: &Keys<'_>, original: Option<usize>) -> Result<Yarn, LoadError> {
        let original_context = self.original(table, original)?;
        let factor = table.number_or("factor", self.context as f64 / original_context)?;
        let magnitude_at = |weight: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * weight * factor.ln() + 1.0
            }
        };
        let mscales = (
            table.number_if("mscale")?,
            table.number_if("mscale_all_dim")?,
        );
        let magnitude = match (table.number_if("attention_factor")?, mscales) {
            (Some(magnitude), _) => magnitude,
            (None, (Some(one), Some(all))) => magnitude_at(one) / magnitude_at(all),
            (None, _) => magnitude_at(1.0),
        };
        Ok(Yarn {
            factor,
            fast: table.number_or("beta_fast", 32.0)?,
            slow: table.number_or("beta_slow", 1.0)?,
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
        let short = table.numbers("short_factor")?;
        let long = table.numbers("long_factor")?;
        for (key, factors) in [("short_factor", &short), ("long_factor", &long)] {
            if factors.len() != dim / 2 {
                return Err(table.refuse(key, &format!("where {} factors are needed", dim / 2)));
            }
        }
        let factor = table.number_or("factor", self.context as f64 / original_context)?;
        let usual = match factor <= 1.0 {
            true => 1.0,
            false => (1.0 + factor.ln() / original_context.ln()).sqrt(),
        };
        let is_long = self.served as f64 > original_context;
        Ok(RopeScaling::Long {
            factors: if is_long { long } else { short },
            magnitude: table.number_or("attention_factor", usual)?,
        })
    }
}
