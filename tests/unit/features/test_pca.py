import numpy as np
import pytest

from vmr.errors import FeatureError
from vmr.features.pca import PcaFitter


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
    np.testing.assert_allclose(pca.transform(samples), centred @ pca.components.T, rtol=1e-4, atol=1e-4)
    assert pca.transform(samples).dtype == np.float32


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
        fitted(samples, 2, 60).transform(np.zeros((1, 5)))
