"""A generative adversarial network with two optimizers: what no recipe says, and a session makes safe.

Killed at any moment it goes on from its last checkpoint, bit for bit: both networks, both optimizers, the order of the images
and the noise. By hand, with an imported data set: OARLOCK_DATA_DIR=… python train.py --steps 600
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from oarlock_trainer.session import open_session

NOISE = 32


def make_generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(NOISE, 128 * 7 * 7),
        nn.Unflatten(1, (128, 7, 7)),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def make_discriminator() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 1),
    )


def judge(logits: Tensor, *, real: bool) -> Tensor:
    """Return how wrong the discriminator is about images that are all real, or all made."""
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    with open_session() as session:
        torch.manual_seed(session.seed)
        generator, discriminator = make_generator().to(session.device), make_discriminator().to(session.device)
        if session.processes > 1:
            generator, discriminator = DistributedDataParallel(generator), DistributedDataParallel(discriminator)
            torch.manual_seed(session.seed + session.rank)  # each rank draws noise of its own
        g_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        session.keep(generator=generator, discriminator=discriminator, g_optimizer=g_optimizer, d_optimizer=d_optimizer)
        digits = session.open_dataset().split("train")
        order = session.order(samples=len(digits), batch_size=options.batch_size)

        for step in session.steps(options.steps):
            pixels, _ = digits.gather(session.own_rows(order.ids_of_step(step)))
            real = torch.from_numpy(pixels).to(session.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            made = generator(torch.randn(len(real), NOISE, device=session.device))

            # One pass over both, so that data-parallel training sees each network once before it updates.
            verdicts = discriminator(torch.cat([real, made.detach()]))
            d_loss = judge(verdicts[: len(real)], real=True) + judge(verdicts[len(real) :], real=False)
            d_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()

            g_loss = judge(discriminator(made), real=True)
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()
            session.report(**{"loss": g_loss, "discriminator/loss": d_loss})

        session.export(lambda folder: save_result(folder, generator))


def save_result(folder: Path, generator: nn.Module) -> None:
    """Save the generator, and a sheet of digits that it makes."""
    network = generator.module if isinstance(generator, DistributedDataParallel) else generator
    torch.save(network.state_dict(), folder / "generator.pt")
    network.eval()
    with torch.no_grad():
        device = next(network.parameters()).device
        noise = torch.randn(64, NOISE, generator=torch.Generator().manual_seed(0)).to(device)
        sheet = network(noise).cpu().reshape(8, 8, 28, 28).permute(0, 2, 1, 3).reshape(224, 224)
    gray = ((sheet + 1) * 127.5).to(torch.uint8).numpy().tobytes()
    (folder / "digits.pgm").write_bytes(b"P5 224 224 255\n" + gray)


if __name__ == "__main__":
    main()
