//! What a run writes down while it goes: a line of JSON a step.

use std::fs::{File, OpenOptions};
use std::path::Path;

use burn::tensor::Tensor;
use serde::Serialize;

use crate::error::TrainError;
use crate::optimizer::read_all;
use crate::peers::Peers;

/// One line of the log.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) step: usize,
    pub(crate) phase: &'a str,
    pub(crate) loss: f64,
    pub(crate) language: Option<f64>,
    pub(crate) guard: Option<f64>,
    pub(crate) accuracy: Option<f64>,
    pub(crate) gradient_norm: f64,
    pub(crate) rate: f64,
    seconds: f64,
}

/// Sums over one step.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) loss: f64,
    pub(crate) language: Option<f64>,
    pub(crate) guard: Option<f64>,
    pub(crate) right: usize,
    pub(crate) images: usize,
    pub(crate) norm: f64,
}

impl Sums {
    /// Of all processes together, each of which has its share.
    pub(crate) fn add_up(&mut self, peers: &Peers) {
        if peers.size() == 1 {
            return;
        }
        let there = |value: Option<f64>| f64::from(u8::from(value.is_some()));
        let own = [
            self.loss,
            self.language.unwrap_or(0.0),
            self.guard.unwrap_or(0.0),
            there(self.language),
            there(self.guard),
        ];
        let mut values: Vec<f32> =
            own.into_iter().chain([self.right as f64, self.images as f64]).map(|x| x as f32).collect();
        peers.sum(&mut values);
        let value = |nth: usize| f64::from(values[nth]);
        self.loss = value(0);
        self.language = (values[3] > 0.0).then(|| value(1));
        self.guard = (values[4] > 0.0).then(|| value(2));
        (self.right, self.images) = (values[5] as usize, values[6] as usize);
    }

    /// Counts the labelled images whose most probable class is the right one.
    pub(crate) fn count(
        &mut self,
        logits: Option<&Tensor<2>>,
        labelled: &[i32],
        labels: &[i32],
    ) -> Result<(), TrainError> {
        let Some(logits) = logits else { return Ok(()) };
        let [_, classes] = logits.dims();
        let values = read_all(logits.clone())?;
        let guesses: Vec<u32> = values.chunks(classes).map(safevlm_nn::sampler::argmax).collect();
        let right = |(image, label): &(&i32, &i32)| guesses[**image as usize] as i32 == **label;
        self.right += labelled.iter().zip(labels).filter(right).count();
        self.images += labels.len();
        Ok(())
    }

    pub(crate) fn line<'a>(&self, step: usize, phase: &'a str, rate: f64, seconds: f64) -> Line<'a> {
        let accuracy = (self.images > 0).then(|| self.right as f64 / self.images as f64);
        let (loss, language, guard) = (self.loss, self.language, self.guard);
        Line { step, phase, loss, language, guard, accuracy, gradient_norm: self.norm, rate, seconds }
    }
}

pub(crate) fn open_log(output: &Path) -> Result<File, TrainError> {
    let write = |source| TrainError::Write { path: output.to_owned(), source };
    std::fs::create_dir_all(output).map_err(write)?;
    OpenOptions::new().create(true).append(true).open(output.join("log.jsonl")).map_err(write)
}
