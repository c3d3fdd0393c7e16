"""What people write around a network to serve it: FastAPI, torch, and a function for each request.

``python -m benchmarks.handwritten_server NETWORK WEIGHTS PORT``; nothing here knows Kindling.
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from pydantic import BaseModel
from torchvision.transforms.functional import to_tensor

from benchmarks import plain

PRODUCTS = ["not popular", "popular"]
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
app = FastAPI()
name, weights, port = sys.argv[1:]
network = {"SimpleNet": plain.simple_net, "Net": plain.net}[name]().cpu()
loaded = torch.load(weights, map_location="cpu").values()
network.load_state_dict(dict(zip(network.state_dict(), loaded, strict=True)))  # layers may have other numbers
network.eval()


class Product(BaseModel):
    price: float
    rating: float


def answer(x: torch.Tensor, names: list[str]) -> dict[str, object]:
    with torch.inference_mode():
        probabilities = network(x).softmax(dim=1)[0]
    label = int(probabilities.argmax())
    return {"prediction": names[label], "probabilities": dict(zip(names, probabilities.tolist(), strict=True))}


if name == "SimpleNet":

    @app.post("/predict")
    def predict(product: Product) -> dict[str, object]:
        return answer(torch.tensor([[product.price, product.rating]]), PRODUCTS)

else:

    @app.post("/predict")
    def predict_image(image: UploadFile) -> dict[str, object]:
        pixels = to_tensor(Image.open(image.file).convert("L"))
        return answer(((pixels - plain.MEAN) / plain.STD).unsqueeze(0), CLOTHES)


if __name__ == "__main__":
    uvicorn.run(app, port=int(port), access_log=False, log_level="warning")
