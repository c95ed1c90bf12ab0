"""Claims about pictures of tensors: what is drawn, where, and what is refused."""

import os
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from plainlearn.core.figures import plot_function, show_image, show_images, subplots


def drawn(im, **kwargs) -> np.ndarray:
    """What `imshow` was given for `im`, after drawing the figure to the end: a warning there would be an error."""
    ax = show_image(im, **kwargs)
    ax.figure.canvas.draw()
    shown = np.asarray(ax.images[0].get_array())
    plt.close(ax.figure)
    return shown


# ---- subplots


@pytest.mark.parametrize(
    ("rows", "cols", "shape"), [(1, 1, (1,)), (1, 3, (3,)), (2, 1, (2,)), (2, 3, (2, 3))]
)
def test_subplots_gives_three_inches_an_axis_and_always_an_array(rows, cols, shape):
    figure, axes = subplots(rows, cols)
    assert isinstance(axes, np.ndarray)
    assert axes.shape == shape
    assert figure.get_size_inches().tolist() == [3 * cols, 3 * rows]


def test_subplots_takes_sizes_a_title_and_what_matplotlib_takes():
    assert subplots(2, 2, imsize=2)[0].get_size_inches().tolist() == [4, 4]
    figure, axes = subplots(1, 2, figsize=(7, 5), suptitle="pets", sharey=True, squeeze=False)
    assert figure.get_size_inches().tolist() == [7, 5]
    assert figure.get_suptitle() == "pets"
    assert axes.shape == (1, 2)


def test_subplots_of_no_axes_are_refused():
    with pytest.raises(ArgumentError, match="0 rows and 2 columns of axes; expected 1 or more"):
        subplots(0, 2)


# ---- show_image: shapes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 20), (28, 20)),
        ((3, 20), (3, 20)),
        ((1, 1), (1, 1)),
        ((1, 28, 20), (28, 20)),
        ((28, 20, 1), (28, 20)),
        ((3, 28, 20), (28, 20, 3)),
        ((4, 28, 20), (28, 20, 4)),
        ((28, 20, 3), (28, 20, 3)),
        ((3, 2, 2), (2, 2, 3)),
        ((2, 2, 3), (2, 2, 3)),
    ],
)
@pytest.mark.parametrize("make", [torch.rand, lambda shape: torch.rand(shape).numpy()])
def test_images_of_every_shape_are_drawn_rows_first_and_channels_last(make, shape, expected):
    assert drawn(make(shape)).shape == expected


def test_a_shape_that_could_be_either_is_read_by_the_custom_of_its_kind():
    values = torch.rand(3, 8, 3)
    assert np.allclose(drawn(values), values.permute(1, 2, 0))
    assert np.allclose(drawn(values.numpy()), values)


@given(st.integers(1, 6), st.integers(1, 6))
def test_a_matrix_is_drawn_as_it_is_however_few_its_rows(rows, columns):
    values = torch.arange(rows * columns).view(rows, columns)
    assert np.array_equal(drawn(values), values.numpy())


@pytest.mark.parametrize(
    ("im", "message"),
    [
        (torch.zeros(2, 8, 8), "shape (2, 8, 8); expected 1, 3 or 4 channels, first or last"),
        (torch.zeros(5), "shape (5,); expected (H, W), (C, H, W) or (H, W, C)"),
        (torch.tensor(1.0), "shape (); expected (H, W)"),
        (torch.zeros(64, 3, 8, 8), "Try show_images(batch)"),
        (torch.zeros(784), "Try im.reshape(28, 28)"),
        (torch.zeros(0, 5), "shape (0, 5), and so no pixels"),
        (torch.zeros(3, 0, 5), "shape (3, 0, 5), and so no pixels"),
    ],
)
def test_what_has_no_shape_of_an_image_is_named_with_what_would(im, message):
    with pytest.raises(ShapeError) as caught:
        show_image(im)
    assert message in str(caught.value)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("im", ["cat.jpg", None, torch.zeros(2, 2, dtype=torch.complex64)])
def test_what_holds_no_numbers_is_refused(im):
    with pytest.raises(ArgumentTypeError, match="expected numbers"):
        show_image(im)


# ---- show_image: values


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64]
)
@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 2)])
def test_values_of_every_kind_are_drawn(dtype, shape):
    values = torch.eye(2).expand(shape).to(dtype)
    assert drawn(values).shape == (2, 2, 3)[: len(shape)]


def test_a_matrix_keeps_its_values_and_leaves_the_scale_to_matplotlib():
    values = torch.tensor([[-3.0, 0.0], [2.0, 700.0]])
    assert np.array_equal(drawn(values), values)
    assert np.array_equal(drawn(values[None]), values)


def test_a_tensor_that_takes_part_in_training_is_drawn():
    weight = torch.nn.Linear(784, 2).weight
    assert drawn(weight[0].view(28, 28)).shape == (28, 28)


@pytest.mark.gpu
def test_a_tensor_on_the_gpu_is_drawn():
    assert drawn(torch.rand(3, 8, 8, device="cuda")).shape == (8, 8, 3)


def colours(low: float, high: float) -> torch.Tensor:
    return torch.linspace(low, high, 3 * 4 * 4).view(3, 4, 4)


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0, 1, (0, 1)),
        (0.2, 0.4, (0.2, 0.4)),
        (-0.05, 1.05, (0, 1)),
        (0, 255, (0, 1)),
        (51, 102, (0.2, 0.4)),
        (-2, 2.5, (0, 1)),
        (0, 4000, (0, 1)),
        (3, 3, (0, 0)),
    ],
)
def test_colours_beyond_their_range_are_brought_into_it(low, high, shown, caplog):
    pixels = drawn(colours(low, high))
    assert (pixels.min(), pixels.max()) == pytest.approx(shown)
    assert not caplog.records, "matplotlib had to clip"


def test_a_little_overshoot_is_cut_off_and_dims_nothing():
    values = colours(0.5, 1.05)
    assert np.allclose(drawn(values), values.permute(1, 2, 0).clip(0, 1))


def test_whole_colours_are_read_as_0_to_255_and_single_bits_as_off_and_on():
    assert drawn(torch.full((3, 2, 2), 51)).max() == pytest.approx(0.2)
    assert drawn(torch.full((3, 2, 2), 10)).max() == pytest.approx(10 / 255)
    assert drawn(torch.ones(3, 2, 2, dtype=torch.int64)).max() == 1
    assert drawn(torch.full((3, 2, 2), 51, dtype=torch.uint8)).max() == 51


def test_what_is_not_finite_is_left_blank_and_warns_of_nothing():
    values = torch.tensor([[0.0, float("nan")], [float("inf"), 1.0]])
    ax = show_image(values)
    ax.figure.canvas.draw()
    assert ax.images[0].get_array().mask.tolist() == [[False, True], [True, False]]
    assert ax.images[0].get_clim() == (0, 1)
    drawn(torch.full((4, 4), float("nan")))
    assert np.isfinite(drawn(torch.full((3, 4, 4), float("nan")))).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"]
)
def test_pil_images_of_every_mode_are_drawn(mode):
    shown = drawn(Image.new(mode, (3, 2)))
    assert shown.shape[:2] == (2, 3)


def test_pil_images_show_their_colours_and_not_the_numbers_of_their_mode():
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    for mode in ("RGB", "P", "CMYK", "HSV"):
        assert drawn(red.convert(mode))[0, 0].tolist() == [255, 0, 0]


def test_a_pil_image_keeps_its_transparency():
    palette = Image.new("P", (2, 2), 0)
    palette.info["transparency"] = 0
    for im in (palette, Image.new("LA", (2, 2), (9, 0))):
        assert drawn(im)[0, 0, 3] == 0


# ---- show_image: where and how


def test_it_draws_into_the_axes_given_under_either_name():
    _, axes = subplots(1, 2)
    assert show_image(torch.zeros(2, 2), axes[0]) is axes[0]
    assert show_image(torch.zeros(2, 2), ctx=axes[1]) is axes[1]
    assert len(plt.get_fignums()) == 1


def test_two_different_axes_are_one_too_many():
    _, axes = subplots(1, 2)
    with pytest.raises(ArgumentError, match="ax and ctx are two names for one thing"):
        show_image(torch.zeros(2, 2), axes[0], ctx=axes[1])


def test_an_array_of_axes_is_named_with_what_to_type():
    _, axes = subplots()
    with pytest.raises(ArgumentTypeError, match=r"ax is ndarray of shape \(1,\); expected one") as caught:
        show_image(torch.zeros(2, 2), axes)
    assert caught.value.try_ == "ax=axes[0]"


def test_a_size_for_axes_that_have_one_is_not_silently_ignored():
    _, axes = subplots()
    with pytest.raises(ArgumentError, match="figsize is given with ax"):
        show_image(torch.zeros(2, 2), axes[0], figsize=(3, 3))


def test_axes_are_off_and_the_title_is_shown():
    ax = show_image(torch.zeros(2, 2), title=torch.tensor(3))
    assert not ax.axison
    assert ax.get_title() == "tensor(3)"
    assert show_image(torch.zeros(2, 2)).get_title() == ""


def test_a_new_figure_suits_the_image():
    def size(height, width, **kwargs):
        return show_image(torch.zeros(height, width), **kwargs).figure.get_size_inches().tolist()

    assert size(28, 28) == [1, 1]
    assert size(64, 128) == [4, 2]
    assert size(4000, 2000) == [2.5, 5]
    assert size(1, 1000) == [5, 1]
    assert size(28, 28, figsize=(4, 2)) == [4, 2]


def test_the_colour_map_is_the_one_asked_for_or_else_the_users_own():
    with matplotlib.rc_context({"image.cmap": "Greys"}):
        assert show_image(torch.zeros(2, 2)).images[0].get_cmap().name == "Greys"
        assert show_image(torch.zeros(2, 2), cmap="bone").images[0].get_cmap().name == "bone"


def test_further_arguments_go_to_imshow():
    assert show_image(torch.zeros(2, 2), vmin=-1, vmax=3).images[0].get_clim() == (-1, 3)


# ---- show_images


def test_images_fill_a_grid_row_by_row_and_the_rest_stays_empty():
    axes = show_images([torch.full((2, 2), i) for i in range(5)], nrows=2, titles="abcde", suptitle="all")
    assert axes.shape == (2, 3)
    assert [ax.get_title() for ax in axes.flat] == ["a", "b", "c", "d", "e", ""]
    assert [int(ax.images[0].get_array()[0, 0]) for ax in axes.flat[:5]] == [0, 1, 2, 3, 4]
    assert not axes[1, 2].images
    assert not any(ax.axison for ax in axes.flat)
    assert axes[0, 0].figure.get_suptitle() == "all"


def test_a_batch_is_a_row_of_images():
    assert show_images(torch.rand(4, 3, 8, 8)).shape == (4,)
    assert (
        show_images(torch.rand(4, 3, 8, 8), nrows=2, ncols=2, imsize=1)[0, 0].figure.get_size_inches()[0] == 2
    )


def test_images_that_do_not_fit_and_titles_that_do_not_match_are_refused():
    images = torch.rand(4, 8, 8)
    with pytest.raises(ArgumentError, match="4 images do not fit in 1 rows of 3"):
        show_images(images, ncols=3)
    with pytest.raises(ArgumentError, match="2 titles for 4 images; expected as many"):
        show_images(images, titles=["a", "b"])
    with pytest.raises(ArgumentError, match="there are no images to show"):
        show_images([])
    with pytest.raises(ArgumentError, match="do not fit in 0 rows"):
        show_images(images, nrows=0)
    assert plt.get_fignums() == []


# ---- plot_function


def test_a_function_is_drawn_between_its_bounds_with_its_names():
    ax = plot_function(lambda x: x**2, "x", "x**2", title="square", min=-1, max=3)
    x, y = ax.lines[0].get_data()
    assert (x[0], x[-1], len(x)) == (-1, 3, 100)
    assert np.allclose(y, x**2)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("x", "x**2", "square")
    assert ax.figure.get_size_inches().tolist() == [6, 4]


def test_a_function_with_parameters_in_training_is_drawn():
    slope = torch.tensor(2.0, requires_grad=True)
    assert plot_function(lambda x: slope * x).lines[0].get_data()[1][-1] == 4


def test_a_function_that_gives_no_curve_is_named_with_the_shapes():
    with pytest.raises(ShapeError, match=r"f gave \(\) for x of \(100,\); expected one y for each x"):
        plot_function(torch.sum)
    assert plt.get_fignums() == []


def test_pictures_need_no_screen():
    code = """
import io, torch
from plainlearn.core.figures import show_image
show_image(torch.eye(3)).figure.savefig(io.BytesIO())
"""
    screenless = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=screenless)
