"""Writes update.json: some DDPG updates as PyTorch's own modules, autograd and Adam make them.

An implementation of its own, from the algorithm's description: nothing is shared with the Rust code but the order of
parameters, which is PyTorch's. Run from any directory; needs torch (2.11 made the stored file) and nothing else.
"""

import json
from pathlib import Path

import torch
from torch import nn

OBSERVATION_LEN = 4
HIDDEN = [8, 6]
BATCH = 12
UPDATES = 8

CASES = [
    {"name": "as in HAQ", "discount": 1.0, "tau": 0.01, "actor_learning_rate": 1e-4, "critic_learning_rate": 1e-3,
     "baseline_rate": 0.5},
    {"name": "discounted and fast", "discount": 0.9, "tau": 0.2, "actor_learning_rate": 1e-2,
     "critic_learning_rate": 3e-2, "baseline_rate": 0.1},
]


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(OBSERVATION_LEN, HIDDEN[0]), nn.ReLU(), nn.Linear(HIDDEN[0], HIDDEN[1]),
                                    nn.ReLU(), nn.Linear(HIDDEN[1], 1), nn.Sigmoid())

    def forward(self, observation):
        return self.layers(observation)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.of_observation = nn.Linear(OBSERVATION_LEN, HIDDEN[0])
        self.of_action = nn.Linear(1, HIDDEN[0])
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(HIDDEN[0], HIDDEN[1]), nn.ReLU(), nn.Linear(HIDDEN[1], 1))

    def forward(self, observation, action):
        return self.head(self.of_observation(observation) + self.of_action(action))


def flat(module):
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()]).tolist()


def random_batch(generator):
    return {
        "observations": torch.rand(BATCH, OBSERVATION_LEN, generator=generator),
        "actions": torch.rand(BATCH, 1, generator=generator),
        "rewards": torch.randn(BATCH, 1, generator=generator),
        "next_observations": torch.rand(BATCH, OBSERVATION_LEN, generator=generator),
        "not_done": (torch.rand(BATCH, 1, generator=generator) < 0.7).float(),
    }


def run(case, seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    actor, critic, target_actor, target_critic = Actor(), Critic(), Actor(), Critic()
    target_actor.load_state_dict(actor.state_dict())
    target_critic.load_state_dict(critic.state_dict())
    actor_adam = torch.optim.Adam(actor.parameters(), lr=case["actor_learning_rate"])
    critic_adam = torch.optim.Adam(critic.parameters(), lr=case["critic_learning_rate"])
    record = {**case, "initial": {"actor": flat(actor), "critic": flat(critic)}, "updates": []}
    baseline = None

    for index in range(UPDATES):
        batch = random_batch(generator)
        mean_reward = batch["rewards"].double().mean().item()
        if baseline is None:
            baseline = mean_reward
        else:
            baseline = (1 - case["baseline_rate"]) * baseline + case["baseline_rate"] * mean_reward
        with torch.no_grad():
            successor = batch["next_observations"]
            bootstrap = target_critic(successor, target_actor(successor))
            target = batch["rewards"] - baseline + case["discount"] * batch["not_done"] * bootstrap

        critic_adam.zero_grad()
        critic_loss = ((critic(batch["observations"], batch["actions"]) - target) ** 2).mean()
        critic_loss.backward()
        critic_adam.step()

        actor_adam.zero_grad()
        actor_loss = -critic(batch["observations"], actor(batch["observations"])).mean()
        actor_loss.backward()
        actor_adam.step()

        with torch.no_grad():
            for slow, fast in [(target_actor, actor), (target_critic, critic)]:
                for p_slow, p_fast in zip(slow.parameters(), fast.parameters()):
                    p_slow.copy_((1 - case["tau"]) * p_slow + case["tau"] * p_fast)

        update = {
            "batch": {name: tensor.reshape(-1).tolist() for name, tensor in batch.items()},
            "critic_loss": critic_loss.item(),
            "actor_loss": actor_loss.item(),
            "baseline": baseline,
        }
        if index in (0, UPDATES - 1):
            networks = [actor, critic, target_actor, target_critic]
            update["parameters"] = [flat(network) for network in networks]
        record["updates"].append(update)
    return record


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = [run(case, seed) for seed, case in enumerate(CASES)]
    reference = {"torch": torch.__version__, "observation_len": OBSERVATION_LEN, "hidden_units": HIDDEN, "cases": cases}
    text = json.dumps(reference, indent=None, separators=(",", ":"))
    Path(__file__).with_name("update.json").write_text(text + "\n")
