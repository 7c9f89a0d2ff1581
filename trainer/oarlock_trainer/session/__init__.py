"""Checkpoints and exact resume for a program of your own, in about ten lines.

    from oarlock_trainer.session import open_session

    with open_session() as session:
        model = Model().to(session.device)
        optimizer = torch.optim.Adam(model.parameters())
        session.keep(model=model, optimizer=optimizer)
        order = session.order(samples=len(images), batch_size=64)
        for step in session.steps(1000):
            batch = images[session.own_rows(order.ids_of_step(step))]
            loss = train(model, optimizer, batch)
            session.report(loss=loss)

Killed at any moment and started again, the program goes on from its last checkpoint as if nothing had happened: the steps go
on where they were, and every part and every random generator is as it was. Run by hand it works alike.
"""

from oarlock_trainer.session.opening import open_session
from oarlock_trainer.session.session import Session

__all__ = ["Session", "open_session"]
"""What a user's program imports; nothing else here is for it."""
