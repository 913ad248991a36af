import h5py
import numpy as np
import pytest
import torch

from vmr.errors import FeatureError
from vmr.features.pca import PcaFitter, read_pca

CPU = torch.device("cpu")


@pytest.fixture
def samples():
    random = np.random.default_rng(0)
    # A mean that is large against the spread: a naive sum of squares would lose the small components.
    return (random.normal(size=(60, 8)) @ random.normal(size=(8, 8)) + 1e4).astype(np.float64)


def fitted(samples, components, batch):
    fitter = PcaFitter(samples.shape[1])
    for i in range(0, len(samples), batch):
        fitter.add(samples[i : i + batch])
    return fitter.fit(components)


def test_streaming_equals_the_singular_value_decomposition(samples):
    pca = fitted(samples, 3, 7)
    centred = samples - samples.mean(axis=0)
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(pca.mean, samples.mean(axis=0))
    np.testing.assert_allclose(pca.explained_variance, values[:3] ** 2 / 59, rtol=1e-8)
    np.testing.assert_allclose(np.abs(pca.components @ rows[:3].T), np.eye(3), atol=1e-8)
    assert pca.explained_share == pytest.approx((values[:3] ** 2).sum() / (values**2).sum())
    projected = pca.on(CPU)(samples)
    np.testing.assert_allclose(projected, centred @ pca.components.T, rtol=1e-4, atol=1e-4)
    assert projected.dtype == np.float32


def test_batches_do_not_matter(samples):
    one, many = fitted(samples, 4, 60), fitted(samples[::-1], 4, 1)
    np.testing.assert_allclose(one.components, many.components, atol=1e-8)
    assert one.samples == many.samples == 60


def test_signs_are_fixed(samples):
    largest = np.abs(fitted(samples, 8, 60).components).argmax(axis=1)
    assert (fitted(samples, 8, 60).components[np.arange(8), largest] > 0).all()


def test_few_samples_give_fewer_components(samples, caplog):
    pca = fitted(samples[:4], 6, 2)
    assert pca.components.shape == (3, 8)
    assert "3 components instead of 6" in caplog.text
    assert pca.explained_share == pytest.approx(1.0)


def test_errors(samples):
    with pytest.raises(FeatureError, match="at least 2 feature vectors"):
        fitted(samples[:1], 2, 1)
    with pytest.raises(FeatureError, match="vectors of 8 numbers, found 5"):
        fitted(samples, 2, 60).on(CPU)(np.zeros((1, 5)))


@pytest.mark.parametrize("form", ["npz", "h5", "merged"])
def test_a_pca_made_elsewhere_is_read(samples, form, tmp_path):
    pca = fitted(samples, 3, 60)
    path = tmp_path / ("p.npz" if form == "npz" else "p.h5")
    if form == "npz":
        np.savez(path, mean=pca.mean, components=pca.components)
    else:
        with h5py.File(path, "w") as file:
            group = file.create_group("pca") if form == "merged" else file
            group["mean"], group["components"] = pca.mean, pca.components.astype(np.float32)
            group["explained_variance"] = pca.explained_variance
    read = read_pca(path, components=2)
    expected = (samples - samples.mean(axis=0)) @ pca.components[:2].T
    np.testing.assert_allclose(read.on(CPU)(samples), expected, rtol=1e-3, atol=1e-3)
    assert read.components.shape == (2, 8) and np.isnan(read.explained_share)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mean": np.zeros(3)}, r"expected the arrays mean \(D\) and components \(K, D\), found \{'mean'"),
        ({"mean": np.zeros(3), "components": np.zeros((3, 2))}, "expected the arrays"),
        ({"mean": np.zeros(2), "components": np.full((1, 2), np.nan)}, "hold NaN"),
        ({"mean": np.zeros(2), "components": np.ones((1, 2))}, "2 components are asked for, the file has 1"),
    ],
)
def test_other_files_are_no_pca(arrays, said, tmp_path):
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(FeatureError, match=said):
        read_pca(tmp_path / "p.npz", components=2 if "asked" in said else None)
    (tmp_path / "p.h5").write_text("text")
    with pytest.raises(FeatureError, match=r"p\.h5: not a readable PCA"):
        read_pca(tmp_path / "p.h5")


@pytest.mark.gpu
def test_the_device_does_not_matter(samples):
    pca = fitted(samples, 3, 60)
    np.testing.assert_allclose(pca.on(torch.device("cuda"))(samples), pca.on(CPU)(samples), rtol=1e-6)
