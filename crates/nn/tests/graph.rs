//! The whole graph with toy parts: where visual tokens go, and what the guard sees.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_nn::{
    AttentionMask, CausalLm, Embedding, GuardHead, GuardInput, ImageTokens, KvCache, Matrix, Padding, Positions,
    Projector, Sequences, VisionEncoder, Vlm,
};

const IMAGE: u32 = 4;

/// Two tokens an image: its mean and its first value, in one channel.
#[derive(Module, Debug)]
struct Eye {
    unused: Param<Tensor<1>>,
}

impl VisionEncoder for Eye {
    type Pixels = Tensor<4>;

    fn encode(&self, pixels: Tensor<4>) -> ImageTokens {
        let [images, ..] = pixels.dims();
        let flat = pixels.reshape([images as i32, -1]);
        let both = Tensor::cat(vec![flat.clone().mean_dim(1), flat.narrow(1, 0, 1)], 1);
        ImageTokens::equal(both.reshape([images, 2, 1]))
    }
}

/// `v` becomes `[v, -v]`.
#[derive(Module, Debug)]
struct Mirror {
    unused: Param<Tensor<1>>,
}

impl Projector for Mirror {
    fn project(&self, features: ImageTokens) -> ImageTokens {
        features.map(|x| Tensor::cat(vec![x.clone(), x.neg()], 1))
    }
}

/// Each state is its own embedding.
#[derive(Module, Debug)]
struct Echo {
    table: Embedding,
}

impl CausalLm for Echo {
    fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.table.forward(ids)
    }

    fn forward(&self, x: Tensor<3>, _: &Positions, _: &AttentionMask, _: Option<&mut KvCache>) -> Tensor<3> {
        x
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.table.logits(hidden)
    }

    fn new_cache(&self, batch: usize, capacity: usize, device: &Device) -> KvCache {
        KvCache::new(1, batch, 1, capacity, 1, device)
    }

    fn matrices(&mut self, visit: &mut dyn FnMut(&str, Matrix<'_>)) {
        visit("table", Matrix::Embedding(&mut self.table));
    }
}

/// The sum of the visual tokens' states.
#[derive(Module, Debug)]
struct Total {
    meta_token: Option<Param<Tensor<2>>>,
    #[module(skip)]
    input: GuardInput,
}

impl GuardHead for Total {
    fn classify(&self, states: ImageTokens) -> Tensor<2> {
        let counts: Vec<f32> = states.counts().iter().map(|count| *count as f32).collect();
        let counts = Tensor::<1>::from_data(TensorData::new(counts, [states.images()]), &device());
        states.mean() * counts.unsqueeze_dim(1)
    }

    fn input(&self) -> GuardInput {
        self.input
    }

    fn meta_token(&self) -> Option<Tensor<2>> {
        self.meta_token.as_ref().map(Param::val)
    }
}

type Toy = Vlm<Eye, Mirror, Echo, Total>;

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

/// Token `n` has the embedding `[10 n, 10 n + 1]`; there is no row for the image token.
fn toy() -> Toy {
    let device = device();
    let unused = || Param::from_tensor(Tensor::zeros([1], &device));
    let rows: Vec<f32> = (0..IMAGE).flat_map(|n| [10.0 * n as f32, 10.0 * n as f32 + 1.0]).collect();
    let mut table = Embedding::new(IMAGE as usize, 2, &device);
    table.weight = Param::from_tensor(Tensor::from_data(TensorData::new(rows, [IMAGE as usize, 2]), &device)).into();
    Vlm {
        vision: Eye { unused: unused() },
        projector: Mirror { unused: unused() },
        language_model: Echo { table },
        guard: Some(Total { meta_token: None, input: GuardInput::HiddenStates }),
    }
}

/// One image for each `(mean, first value)`.
fn pixels(images: &[(f32, f32)]) -> Tensor<4> {
    let values: Vec<f32> = images.iter().flat_map(|(mean, first)| [*first, 3.0 * mean - first, 0.0]).collect();
    Tensor::from_data(TensorData::new(values, [images.len(), 3, 1, 1]), &device())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

#[test]
fn visual_tokens_take_their_places() {
    let (model, device) = (toy(), device());
    let rows = vec![vec![1, IMAGE, IMAGE, 2, IMAGE, IMAGE], vec![3, IMAGE, IMAGE]];
    let rows = Sequences::new(rows, Some(IMAGE), 0, Padding::Left);
    let visual = model.visual_tokens(pixels(&[(5.0, 6.0), (7.0, 8.0), (9.0, 2.0)]), &device);
    assert_eq!((visual.states().dims(), visual.counts()), ([6, 2], &[2, 2, 2][..]));
    let output = model.forward(&rows, Some(visual), None, &device).unwrap();
    assert_eq!(output.hidden.dims(), [2, 6, 2]);
    let first = [10.0, 11.0, 5.0, -5.0, 6.0, -6.0, 20.0, 21.0, 7.0, -7.0, 8.0, -8.0];
    let second = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 30.0, 31.0, 9.0, -9.0, 2.0, -2.0];
    assert_eq!(values(output.hidden), [first, second].concat());
    // One verdict an image, from its own tokens.
    assert_eq!(values(output.guard.unwrap()), [11.0, -11.0, 15.0, -15.0, 11.0, -11.0]);
}

#[test]
fn one_image_a_row_is_classified_as_alone() {
    let (model, device) = (toy(), device());
    let rows = vec![vec![IMAGE, IMAGE, 1], vec![2, 3, IMAGE, IMAGE]];
    let rows = Sequences::new(rows, Some(IMAGE), 0, Padding::Right);
    let visual = model.visual_tokens(pixels(&[(1.0, 2.0), (3.0, 4.0)]), &device);
    let guard = model.forward(&rows, Some(visual), None, &device).unwrap().guard.unwrap();
    assert_eq!(values(guard), [3.0, -3.0, 7.0, -7.0]);

    // Rows without an image have no verdict, and do not shift the others'.
    let rows = Sequences::new(vec![vec![1, 2], vec![IMAGE, IMAGE]], Some(IMAGE), 0, Padding::Right);
    let visual = model.visual_tokens(pixels(&[(3.0, 4.0)]), &device);
    let guard = model.forward(&rows, Some(visual), None, &device).unwrap().guard.unwrap();
    assert_eq!(values(guard), [7.0, -7.0]);
}

#[test]
fn images_may_have_different_numbers_of_tokens() {
    let (model, device) = (toy(), device());
    let rows = vec![vec![IMAGE, IMAGE, IMAGE, 1], vec![2, IMAGE]];
    let rows = Sequences::new(rows, Some(IMAGE), 0, Padding::Left);
    let states = Tensor::from_data([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], &device);
    let visual = ImageTokens::new(states, vec![1, 2, 1]);
    let guard = model.forward(&rows, Some(visual), None, &device).unwrap().guard.unwrap();
    assert_eq!(values(guard), [1.0, 2.0, 8.0, 10.0, 7.0, 8.0]);
}

#[test]
fn a_guard_may_look_at_the_projectors_tokens() {
    let (mut model, device) = (toy(), device());
    model.guard = Some(Total { meta_token: None, input: GuardInput::Projector });
    let rows = Sequences::single(vec![1, IMAGE, IMAGE], Some(IMAGE));
    let visual = model.visual_tokens(pixels(&[(1.0, 2.0)]), &device);
    // What the language model makes of them does not count.
    let hidden = Tensor::zeros([1, 3, 2], &device);
    assert_eq!(values(model.guard_logits(&hidden, &rows, visual, &device).unwrap()), [3.0, -3.0]);
}

#[test]
fn a_meta_token_stands_behind_each_image() {
    let (mut model, device) = (toy(), device());
    let token = Param::from_tensor(Tensor::from_data([[100.0, 200.0]], &device));
    model.guard = Some(Total { meta_token: Some(token), input: GuardInput::HiddenStates });
    let visual = model.visual_tokens(pixels(&[(5.0, 6.0), (7.0, 8.0)]), &device);
    assert_eq!(visual.counts(), [3, 3]);
    let rows = Sequences::single(vec![IMAGE, IMAGE, IMAGE, 1, IMAGE, IMAGE, IMAGE], Some(IMAGE));
    let output = model.forward(&rows, Some(visual), None, &device).unwrap();
    let expected = [5.0, -5.0, 6.0, -6.0, 100.0, 200.0, 10.0, 11.0, 7.0, -7.0, 8.0, -8.0, 100.0, 200.0];
    assert_eq!(values(output.hidden), expected);
    assert_eq!(values(output.guard.unwrap()), [111.0, 189.0, 115.0, 185.0]);
}

#[test]
fn without_images_or_guard_there_is_no_verdict() {
    let (mut model, device) = (toy(), device());
    let text = Sequences::single(vec![1, 2], Some(IMAGE));
    let output = model.forward(&text, None, None, &device).unwrap();
    assert_eq!(values(output.hidden), [10.0, 11.0, 20.0, 21.0]);
    assert!(output.guard.is_none());
    model.guard = None;
    let rows = Sequences::single(vec![IMAGE, IMAGE], Some(IMAGE));
    let visual = model.visual_tokens(pixels(&[(1.0, 1.0)]), &device);
    assert!(model.forward(&rows, Some(visual), None, &device).unwrap().guard.is_none());
}

#[test]
fn images_and_placeholders_must_be_equally_many() {
    let (model, device) = (toy(), device());
    let visual = |images: &[(f32, f32)]| Some(model.visual_tokens(pixels(images), &device));
    let one = (1.0, 1.0);
    for (row, visual, counts) in [
        (vec![IMAGE, IMAGE, 1], None, "2 visual tokens but the images give 0"),
        (vec![1, 2], visual(&[one]), "0 visual tokens but the images give 2"),
        (vec![IMAGE, IMAGE], visual(&[one, one]), "2 visual tokens but the images give 4"),
        (vec![IMAGE, 1], visual(&[one]), "1 visual tokens but the images give 2"),
    ] {
        let error = model.forward(&Sequences::single(row, Some(IMAGE)), visual, None, &device).unwrap_err();
        assert!(error.to_string().contains(counts), "{error}");
        assert!(error.to_string().contains("one image placeholder for each image"), "{error}");
    }
}
