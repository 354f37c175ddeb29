# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Secrets of every kind, drawn from a seed: none of them opens anything, and none stands here."""

from __future__ import annotations

import random
import string

LETTERS, DIGITS = string.ascii_letters, string.digits
WORD, BASE64 = LETTERS + DIGITS, LETTERS + DIGITS + "+/"
HEX, URL, UPPER = "0123456789abcdef", LETTERS + DIGITS + "_-", string.ascii_uppercase + DIGITS


def planted(seed: int = 1) -> dict[str, str]:
    """A secret of each kind, as it would stand in a string."""
    draw = random.Random(seed)

    def some(letters: str, number: int) -> str:
        first = draw.choice(LETTERS if letters in (WORD, URL, BASE64) else letters)
        return first + "".join(draw.choice(letters) for _ in range(number - 1))

    return {
        "aws-access-key": "AKIA" + some(UPPER, 16),
        "github-token": "ghp_" + some(WORD, 36),
        "github-app-token": "ghs_" + some(WORD, 36),
        "github-fine-grained-token": f"github_pat_{some(WORD, 22)}_{some(WORD, 59)}",
        "gitlab-token": "glpat-" + some(URL, 20),
        "slack-token": f"xoxb-{some(DIGITS, 12)}-{some(DIGITS, 12)}-{some(WORD, 24)}",
        "slack-webhook": "https://hooks.slack.com/services/"
        f"T{some(UPPER, 8)}/B{some(UPPER, 8)}/{some(WORD, 24)}",
        "stripe-key": "sk_live_" + some(WORD, 24),
        "google-api-key": "AIza" + some(URL, 35),
        "google-oauth-secret": "GOCSPX-" + some(URL, 28),
        "jwt": f"eyJ{some(URL, 30)}.eyJ{some(URL, 60)}.{some(URL, 43)}",
        "azure-storage-key": f"AccountKey={some(BASE64, 86)}==;EndpointSuffix=core",
        "azure-client-secret": f"{some(WORD, 3)}8Q~{some(WORD, 34)}",
        "npm-token": "npm_" + some(WORD, 36),
        "pypi-token": "pypi-AgEIcHlwaS5vcmc" + some(URL, 100),
        "sendgrid-key": f"SG.{some(URL, 22)}.{some(URL, 43)}",
        "twilio-key": "SK" + some(HEX, 32),
        "mailgun-key": "key-" + some(HEX, 32),
        "mailchimp-key": some(HEX, 32) + "-us12",
        "telegram-token": f"{some('123456789', 9)}:AA{some(URL, 33)}",
        "discord-token": f"MTk{some(WORD, 21)}.{some(WORD, 6)}.{some(URL, 27)}",
        "discord-webhook": "https://discord.com/api/webhooks/"
        f"{some('123456789', 18)}/{some(URL, 68)}",
        "openai-key": "sk-proj-" + some(WORD, 48),
        "anthropic-key": "sk-ant-api03-" + some(URL, 80),
        "hugging-face-token": "hf_" + some(LETTERS, 34),
        "square-token": "sq0atp-" + some(URL, 22),
        "digitalocean-token": "dop_v1_" + some(HEX, 64),
        "shopify-token": "shpat_" + some(HEX, 32),
        "databricks-token": "dapi" + some(HEX, 32),
        "vault-token": "hvs." + some(WORD, 30),
        "newrelic-key": "NRAK-" + some(UPPER, 27),
        "age-key": "AGE-SECRET-KEY-1" + some(UPPER, 58),
        "database-address": f"postgresql+psycopg://app:{some(WORD, 12)}@db.internal:5432/app",
        "mongo-address": f"mongodb+srv://app:{some(WORD, 12)}@cluster0.net/app",
        "address-with-password": f"https://bob:{some(WORD, 10)}@git.internal/x.git",
        "connection-password": f"Server=db;User=app;Password=aB3!{some(WORD, 9)};",
    }


def pem(seed: int = 1) -> str:
    """A private key over several lines."""
    draw = random.Random(seed)
    rows = ["".join(draw.choice(BASE64) for _ in range(64)) for _ in range(12)]
    kind = "PRIVATE KEY"
    return "\n".join([f"-----BEGIN RSA {kind}-----", *rows, f"-----END RSA {kind}-----"])


def assigned(seed: int = 1) -> dict[str, str]:
    """Values that only the names before them tell."""
    draw = random.Random(seed)
    token = "".join(draw.choice(HEX) for _ in range(40))
    word = "".join(draw.choice(WORD) for _ in range(10))
    return {
        "password = '%s'": f"x7!{word}Q",
        'DB_PASSWORD = "%s"': f"{word}7$aB",
        'passwd: str = "%s"': f"9aZ{word}!",
        '{"api_key": "%s"}': token,
        'connect(client_secret="%s")': token,
        'ACCESS_TOKEN = "%s"': token,
        'aws_secret_access_key = "%s"': "".join(draw.choice(BASE64) for _ in range(40)),
        'setPassword("%s")': f"x7!{word}Q",
        '("password", "%s")': f"x7!{word}Q",
        'password = (\n    "%s"\n)': f"x7!{word}Q",
        "export DB_PASSWORD=%s": f"9aZ{word}!",
        "set -e\nADMIN_PASSWORD=%s\nrun": f"x7{word}Q!",
        "FROM a\nENV API_TOKEN=%s\n": token,
    }
