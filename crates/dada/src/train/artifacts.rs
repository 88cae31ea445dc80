//! What a finished run leaves behind besides its checkpoints.

use std::io::Cursor;
use std::path::Path;

use burn::tensor::Device;
use image::ImageFormat;

use crate::config::RunConfig;
use crate::error::Result;
use crate::evaluate::Retrieval;
use crate::formats::file::write_whole;
use crate::model::encoder::Encoder;
use crate::report::sheet;
use crate::search::nearest;
use crate::train::metrics::{Figures, Metrics};
use crate::train::split_data::SplitData;

/// A result as names and values.
pub fn figures(retrieval: &Retrieval) -> Figures {
    retrieval.means.entries().into_iter().collect()
}

/// Draws `neighbours.png`: queries of as many different classes, each with its nearest pictures.
pub fn neighbours(encoder: &Encoder, split: &SplitData, config: &RunConfig, device: &Device, path: &Path) -> Result<()> {
    let dataset = &split.dataset;
    if dataset.samples.is_empty() {
        return Ok(());
    }
    let embeddings = split.embed(encoder, config, device)?;
    let queries = sheet::spread(dataset.samples.iter().map(|sample| sample.label));
    let rows = nearest(&embeddings.select(&queries)?, &embeddings, sheet::NEIGHBOURS + 1, false)?;
    let rows: Vec<(usize, Vec<usize>)> = queries
        .iter()
        .zip(rows)
        .map(|(&query, row)| (query, row.iter().map(|hit| hit.index).filter(|&hit| hit != query).take(sheet::NEIGHBOURS).collect()))
        .collect();
    let label = |index: usize| dataset.samples[index].label;
    let picture = |index: usize| dataset.samples[index].picture();
    let mut png = Cursor::new(Vec::new());
    let drawn = sheet::draw(&rows, label, picture)?.write_to(&mut png, ImageFormat::Png);
    drawn.map_err(|error| crate::Error::format(path, error.to_string()))?;
    write_whole(path, png.get_ref())
}

/// The exported model's `README.md`.
pub fn model_card(config: &RunConfig, metrics: &Metrics) -> String {
    let mut table = String::new();
    for (name, value) in &metrics.test {
        table += &format!("| {name} | {value:.4} | {:.4} |\n", metrics.untrained[name]);
    }
    format!(
        "# An image-embedding model\n\n\
         Backbone `{}`, {} dimensions, trained with `dada`. Embeddings are compared by cosine.\n\n\
         | {} | trained | untrained |\n|---|---|---|\n{table}\n\
         - `model.safetensors`: the backbone under timm's names, and `projection.weight`, `projection.bias`\n\
         - `preprocessor_config.json`: what a picture goes through first\n\
         - `config.json`: the architecture\n\n\
         ## Configuration of the run\n\n```toml\n{}```\n",
        config.encoder.backbone.name(),
        config.encoder.dim,
        metrics.about(),
        config.to_toml(),
    )
}
