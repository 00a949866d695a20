//! Rows, padding, positions and masks.

use burn::tensor::{Device, Int, Tensor};
use safevlm_core::DeviceSpec;
use safevlm_nn::{AttentionMask, Branched, Padding, PatchGrid, Positions, Sequences};

const IMAGE: u32 = 99;

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

/// Which keys each query sees, one text a query: `x` seen, `.` hidden. Rows follow one another.
fn seen(mask: &AttentionMask) -> Option<(Vec<String>, [usize; 4])> {
    let mask = mask.grouped(1)?;
    let shape = mask.dims();
    let hidden = mask.into_data().try_into_vec::<bool>().unwrap();
    let line = |line: &[bool]| line.iter().map(|hidden| if *hidden { '.' } else { 'x' }).collect();
    Some((hidden.chunks(shape[3]).map(line).collect(), shape))
}

fn integers(ids: Tensor<2, Int>) -> Vec<i64> {
    ids.into_data().iter::<i64>().collect()
}

#[test]
fn causal_masks_hide_the_future() {
    let device = device();
    let (lines, shape) = seen(&AttentionMask::causal(2, 3, 0, None, &device)).unwrap();
    assert_eq!((lines, shape), (["x..", "xx.", "xxx"].map(String::from).to_vec(), [1, 1, 3, 3]));
    // Tokens in the cache are all past.
    let (lines, shape) = seen(&AttentionMask::causal(1, 2, 3, None, &device)).unwrap();
    assert_eq!((lines, shape), (["xxxx.", "xxxxx"].map(String::from).to_vec(), [1, 1, 2, 5]));
}

#[test]
fn padding_is_hidden_from_tokens_and_sees_itself() {
    let device = device();
    let rows = |padding| Sequences::new(vec![vec![1, 2, 3, 4], vec![5, 6]], None, 0, padding);
    let (lines, shape) = seen(&rows(Padding::Left).mask(0, 4, &device)).unwrap();
    assert_eq!(shape, [2, 1, 4, 4]);
    assert_eq!(lines, ["x...", "xx..", "xxx.", "xxxx", "x...", ".x..", "..x.", "..xx"]);
    let (lines, _) = seen(&rows(Padding::Right).mask(0, 4, &device)).unwrap();
    assert_eq!(lines, ["x...", "xx..", "xxx.", "xxxx", "x...", "xx..", "xxx.", "xx.x"]);

    // A chunk behind a padded past, and a single token that must not see the padding.
    let (lines, shape) = seen(&rows(Padding::Left).mask(2, 4, &device)).unwrap();
    assert_eq!((lines, shape), (["xxx.", "xxxx", "..x.", "..xx"].map(String::from).to_vec(), [2, 1, 2, 4]));
    let (lines, _) = seen(&rows(Padding::Left).mask(3, 4, &device)).unwrap();
    assert_eq!(lines, ["xxxx", "..xx"]);
}

#[test]
fn branches_see_their_stem_and_not_one_another() {
    let device = device();
    let rows = [
        Branched { stem: vec![1, IMAGE], branches: vec![vec![2, 3], vec![4]] },
        Branched { stem: vec![5], branches: vec![vec![6]] },
    ];
    let rows = Sequences::branched(&rows, Some(IMAGE), 0);
    assert_eq!((rows.row(0), rows.row(1)), (&[1, IMAGE, 2, 3, 4][..], &[5, 6, 0, 0, 0][..]));
    assert_eq!(rows.visual_tokens(), [1]);
    assert_eq!(rows.positions(0, 5).axis(0), [0, 1, 2, 3, 2, 0, 1, 1, 2, 3]);
    let (lines, shape) = seen(&rows.mask(0, 5, &device)).unwrap();
    assert_eq!(shape, [2, 1, 5, 5]);
    assert_eq!(lines[..5], ["x....", "xx...", "xxx..", "xxxx.", "xx..x"]);
    // Padding is seen by no token.
    assert_eq!(lines[5..7], ["x....", "xx..."]);
}

#[test]
fn one_token_behind_an_unpadded_past_needs_no_mask() {
    let device = device();
    assert!(seen(&AttentionMask::causal(1, 1, 7, None, &device)).is_none());
    let rows = Sequences::new(vec![vec![1, 2, 3], vec![4, 5, 6]], None, 0, Padding::Left);
    assert!(seen(&rows.mask(2, 3, &device)).is_none());
}

#[test]
fn a_sliding_window_hides_the_distant_past() {
    let device = device();
    let mask = AttentionMask::causal(1, 4, 0, None, &device);
    let (lines, shape) = seen(&mask.sliding(2)).unwrap();
    assert_eq!((lines, shape), (["x...", "xx..", ".xx.", "..xx"].map(String::from).to_vec(), [1, 1, 4, 4]));
    // A window as long as the row changes nothing, and the mask it was derived from stays as it was.
    for mask in [&mask, &mask.sliding(4)] {
        assert_eq!(seen(mask).unwrap().0, ["x...", "xx..", "xxx.", "xxxx"]);
    }
    // One new token sees its past, and behind a longer past than the window the last of it.
    let one = AttentionMask::causal(1, 1, 3, None, &device);
    assert!(seen(&one.sliding(4)).is_none());
    assert_eq!(seen(&one.sliding(3)).unwrap().0, [".xxx"]);
    // A chunk behind a past.
    let (lines, _) = seen(&AttentionMask::causal(1, 2, 3, None, &device).sliding(3)).unwrap();
    assert_eq!(lines, [".xxx.", "..xxx"]);
}

#[test]
fn a_window_counts_tokens_and_not_padding() {
    let device = device();
    let rows = |padding| Sequences::new(vec![vec![1, 2, 3, 4], vec![5, 6, 7]], None, 0, padding);
    let (lines, shape) = seen(&rows(Padding::Left).mask(0, 4, &device).sliding(2)).unwrap();
    assert_eq!(shape, [2, 1, 4, 4]);
    assert_eq!(lines, ["x...", "xx..", ".xx.", "..xx", "x...", ".x..", ".xx.", "..xx"]);
    let (lines, _) = seen(&rows(Padding::Right).mask(0, 4, &device).sliding(2)).unwrap();
    assert_eq!(lines, ["x...", "xx..", ".xx.", "..xx", "x...", "xx..", ".xx.", "..xx"]);
    let (lines, _) = seen(&rows(Padding::Left).mask(3, 4, &device).sliding(2)).unwrap();
    assert_eq!(lines, ["..xx", "..xx"]);
    // Positions say how far apart tokens are, where they are not counted from the first key on.
    let positions = Positions::from_ids(vec![0, 1, 1, 2], 1, 4);
    let mask = AttentionMask::causal(1, 4, 0, None, &device).with_tokens(positions, None);
    assert_eq!(seen(&mask.sliding(2)).unwrap().0, ["x...", "xx..", "xxx.", ".xxx"]);
}

#[test]
fn tokens_of_an_image_see_one_another_and_nothing_else_of_the_future() {
    let device = device();
    let rows = vec![vec![1, IMAGE, IMAGE, 2, IMAGE, IMAGE], vec![3, 4, IMAGE, IMAGE, 5]];
    let rows = Sequences::new(rows, Some(IMAGE), 0, Padding::Left);
    let mask = rows.mask(0, 6, &device);
    let first = ["x.....", "xx....", "xxx...", "xxxx..", "xxxxx.", "xxxxxx"];
    let second = ["x.....", ".x....", ".xx...", ".xxx..", ".xxxx.", ".xxxxx"];
    // A model that reads images causally is not touched.
    assert_eq!(seen(&mask).unwrap().0, [first, second].concat());
    let (mut both, mut both_second) = (first, second);
    (both[1], both[4]) = ("xxx...", "xxxxxx");
    both_second[3] = ".xxxx.";
    let (lines, shape) = seen(&mask.images_both_ways()).unwrap();
    assert_eq!(shape, [2, 1, 6, 6]);
    assert_eq!(lines, [both, both_second].concat());

    // The window also cuts through an image, but only backwards.
    let (lines, _) = seen(&mask.images_both_ways().sliding(1)).unwrap();
    let first = ["x.....", ".xx...", "..x...", "...x..", "....xx", ".....x"];
    assert_eq!(lines[..6], first);
    assert_eq!(lines[6..], ["x.....", ".x....", "..x...", "...xx.", "....x.", ".....x"]);

    // Chunks: an image behind a past, text behind an image, one token behind an image.
    let (lines, _) = seen(&rows.mask(3, 6, &device).images_both_ways()).unwrap();
    assert_eq!(lines, ["xxxx..", "xxxxxx", "xxxxxx", ".xxxx.", ".xxxx.", ".xxxxx"]);
    let text = Sequences::single(vec![IMAGE, IMAGE, 1, 2], Some(IMAGE));
    assert_eq!(seen(&text.mask(2, 4, &device).images_both_ways()).unwrap().0, ["xxx.", "xxxx"]);
    assert!(seen(&text.mask(3, 4, &device).images_both_ways()).is_none());
}

#[test]
fn heads_of_a_group_repeat_the_queries() {
    let mask = AttentionMask::causal(1, 2, 1, None, &device());
    let grouped = mask.grouped(3).unwrap();
    assert_eq!(grouped.dims(), [1, 1, 6, 3]);
    let hidden = grouped.into_data().try_into_vec::<bool>().unwrap();
    assert_eq!(hidden, [[false, false, true], [false; 3]].concat().repeat(3));
}

#[test]
fn rows_are_padded_and_grow_together() {
    let device = device();
    let mut left = Sequences::new(vec![vec![1, 2, 3], vec![4]], None, 7, Padding::Left);
    assert_eq!((left.batch(), left.tokens()), (2, 3));
    assert_eq!((left.row(0), left.row(1)), (&[1, 2, 3][..], &[7, 7, 4][..]));
    left.push(&[8, 9]);
    assert_eq!((left.row(0), left.row(1)), (&[1, 2, 3, 8][..], &[7, 7, 4, 9][..]));
    assert_eq!(integers(left.ids(0, &device)), [1, 2, 3, 8, 7, 7, 4, 9]);
    assert_eq!(integers(left.ids(3, &device)), [8, 9]);

    let right = Sequences::new(vec![vec![1, 2, 3], vec![4]], None, 7, Padding::Right);
    assert_eq!(right.row(1), [4, 7, 7]);
    let single = Sequences::single(vec![3, 1], None);
    assert_eq!((single.batch(), single.tokens(), single.row(0)), (1, 2, &[3, 1][..]));
}

#[test]
fn positions_skip_padding() {
    let mut left = Sequences::new(vec![vec![1, 2, 3, 4], vec![5, 6]], None, 0, Padding::Left);
    assert_eq!(left.positions(0, 4).axis(0), [0, 1, 2, 3, 0, 0, 0, 1]);
    assert_eq!(left.positions(2, 4).axis(0), [2, 3, 0, 1]);
    left.push(&[9, 9]);
    let next = left.positions(4, 5);
    assert_eq!((next.axis(0), next.batch(), next.tokens()), (&[4, 2][..], 2, 1));

    let right = Sequences::new(vec![vec![1, 2, 3, 4], vec![5, 6]], None, 0, Padding::Right);
    assert_eq!(right.positions(0, 4).axis(0), [0, 1, 2, 3, 0, 1, 2, 2]);
    let unpadded = Sequences::new(vec![vec![1, 2, 3], vec![4, 5, 6]], None, 0, Padding::Left);
    assert_eq!(unpadded.positions(1, 3), Positions::sequential(2, 1, 2));
}

#[test]
fn given_positions_are_kept_and_counted_on() {
    let axes = vec![vec![0, 0, 0, 1, 2, 2], vec![0, 0, 0, 1, 5, 1]];
    let positions = Positions::from_axes(axes, 2, 3);
    assert_eq!((positions.axes(), positions.next(0), positions.next(1)), (2, 1, 6));
    // An axis that is not there is the last one.
    assert_eq!(positions.axis(2), positions.axis(1));
    let rows = Sequences::new(vec![vec![1, 2, 3], vec![4, 5, 6]], None, 0, Padding::Left);
    let mut rows = rows.with_positions(positions);
    assert_eq!(rows.positions(1, 3), Positions::from_axes(vec![vec![0, 0, 2, 2], vec![0, 0, 5, 1]], 2, 2));
    rows.push(&[7, 8]);
    rows.push(&[9, 10]);
    assert_eq!(rows.positions(3, 5), Positions::from_axes(vec![vec![1, 2, 6, 7]; 2], 2, 2));
    assert_eq!(rows.positions(2, 4).axis(1), [0, 1, 1, 6]);
}

#[test]
fn grids_are_counted_in_patches_and_in_tokens() {
    let grid = PatchGrid { frames: 2, rows: 4, columns: 6 };
    assert_eq!((grid.patches(), grid.merged(2).patches()), (48, 12));
    assert_eq!(PatchGrid::image(4, 6), PatchGrid { frames: 1, ..grid });
    assert!(grid.divides_into(2) && !grid.divides_into(4) && !grid.divides_into(0));
}

#[test]
fn visual_tokens_are_found_where_they_stand() {
    let device = device();
    // Two images in the first row, one in the second, two visual tokens each.
    let rows = vec![vec![1, IMAGE, IMAGE, IMAGE, IMAGE, 2], vec![3, IMAGE, IMAGE]];
    let rows = Sequences::new(rows, Some(IMAGE), 0, Padding::Left);
    assert_eq!(rows.visual_tokens(), [1, 2, 3, 4, 10, 11]);
    // The language model's table has no row for the image token.
    assert_eq!(integers(rows.ids(0, &device)), [1, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0]);

    let text = Sequences::single(vec![IMAGE, 1], None);
    assert!(text.visual_tokens().is_empty());
}
