"""Makes keras_tf2onnx.onnx and keras_export.onnx of tests/broker/onnx_models with Keras.

    python -m venv keras && keras/bin/pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0
    keras/bin/python tests/broker/make_onnx_keras_models.py

The usual convolutional network, with an open batch: both exporters compute the shape that Flatten
makes from a tensor that is not the newest one.
"""

from pathlib import Path

import keras
import tensorflow
import tf2onnx

FILES = Path(__file__).parent / "onnx_models"
SHAPE = (12, 10, 3)


def network() -> keras.Model:
    """Conv, pool, conv, pool, flatten, dense, as in every tutorial."""
    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", bias_initializer="normal"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(5, (3, 2), activation="relu", bias_initializer="normal"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )


if __name__ == "__main__":
    model = network()
    model(tensorflow.zeros((1, *SHAPE)))  # Keras exports what was called once
    model.export(FILES / "keras_export.onnx", format="onnx")
    signature = [tensorflow.TensorSpec((None, *SHAPE), tensorflow.float32, name="x")]
    called = tensorflow.function(model, input_signature=signature)
    tf2onnx.convert.from_function(
        called, signature, opset=15, output_path=str(FILES / "keras_tf2onnx.onnx")
    )
