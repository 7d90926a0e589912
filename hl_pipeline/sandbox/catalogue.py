"""The markets of the default world: the exchange's well-known names at plausible prices, none of it live data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hl_pipeline.model.interval import MINUTE_MS, to_ms
from hl_pipeline.model.market import Market, MarketKind
from hl_pipeline.sandbox.noise import stream_key

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """A market and its life. Instants are ms UTC; it trades in ``[listed_ms, delisted_ms)``, whole minutes.

    ``reference_ms``, if set, is when rows without trades but with moving
    prices begin, ahead of the listing (hyperliquid.md 2.2, point 5).
    ``quiet`` is the chance that a minute has no trade. ``trades_a_minute`` and
    ``coins_a_trade`` are averages. ``volatility`` is per minute, as a share.
    ``token`` is a spot market's base token (its index), ``spot_index`` its own.
    ``day_volumes`` are pairs of an instant and the notional volume of 24 hours
    that the exchange tells from then on; before the first it tells one that
    fits the trades. From ``withdrawn_ms`` on the exchange names the market no
    more: the one after it in the world takes its place in the universe.
    """

    coin: str
    price: float
    sz_decimals: int
    max_leverage: int
    kind: MarketKind = MarketKind.PERP
    dex: str = ""
    listed_ms: int = 0
    delisted_ms: int | None = None
    reference_ms: int | None = None
    quiet: float = 0.0
    trades_a_minute: float = 5.0
    coins_a_trade: float = 1.0
    volatility: float = 0.0006
    only_isolated: bool = False
    token: int = 0
    token_name: str = ""
    spot_index: int = 0
    day_volumes: tuple[tuple[int, float], ...] = ()
    withdrawn_ms: int | None = None

    @property
    def price_decimals(self) -> int:
        """Decimals a price may carry: 6 less the size's for perps, 8 for spot (the exchange's tick rule)."""
        return max(0, (8 if self.kind is MarketKind.SPOT else 6) - self.sz_decimals)

    def lists_at(self, now_ms: int) -> bool:
        """Whether the exchange shows this market in its universe at ``now_ms``."""
        return self.listed_ms <= now_ms and (self.withdrawn_ms is None or now_ms < self.withdrawn_ms)

    def told_volume_at(self, now_ms: int) -> float | None:
        """The notional volume of 24 hours that ``day_volumes`` prescribes at ``now_ms``; null for a natural one."""
        return next((volume for at, volume in sorted(self.day_volumes, reverse=True) if at <= now_ms), None)

    def is_delisted_at(self, now_ms: int) -> bool:
        """Whether trading has ended by ``now_ms``."""
        return self.delisted_ms is not None and self.delisted_ms <= now_ms

    def as_market(self, now_ms: int) -> Market:
        """The market as the pipeline's model says it."""
        leverage = None if self.kind is MarketKind.SPOT else self.max_leverage
        return Market(self.coin, self.kind, self.dex, self.sz_decimals, leverage, self.is_delisted_at(now_ms))


def day(text: str) -> int:
    """Midnight UTC of an ISO date, in ms."""
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


_MAJORS = {
    "BTC": (64_000, 5, 40, "2023-02-26"),
    "ETH": (3_000, 4, 25, "2023-02-26"),
    "SOL": (140, 2, 20, "2023-03-01"),
    "HYPE": (28, 2, 10, "2024-12-05"),
    "XRP": (2, 0, 20, "2023-06-13"),
    "DOGE": (0.14, 0, 10, "2023-04-12"),
    "ARB": (0.5, 1, 10, "2023-03-24"),
    "OP": (0.9, 1, 10, "2023-03-10"),
    "AVAX": (22, 2, 10, "2023-03-02"),
    "BNB": (600, 3, 10, "2023-03-04"),
    "kPEPE": (0.0046, 0, 10, "2023-05-06"),
    "kSHIB": (0.0084, 0, 10, "2023-08-01"),
    "MATIC": (0.4, 1, 20, "2023-03-01"),
    "POL": (0.3, 0, 3, "2024-09-04"),
}
_MATIC_DELISTED = day("2024-09-04")

_PERPS = """
BTC ETH ATOM:6 MATIC DYDX:0.6 SOL AVAX BNB APE:0.6 OP LTC:85 ARB DOGE INJ:14 SUI:2.8 kPEPE CRV:0.6 LDO:0.9 LINK:14
STX:0.8 RNDR:6 CFX:0.12 FTM:0.7 GMX:14 SNX:0.8 XRP BCH:520 APT:4.6 AAVE:230 COMP:45 MKR:1500 WLD:1 FXS:2.4 HPOS:0.09
RLB:0.06 UNIBOT:9 YGG:0.16 TRX:0.28 kSHIB UNI:7.5 SEI:0.22 RUNE:1.3 OX:0.01 FRIEND:1.1 SHIA:0.0009 CYBER:1.6 ZRO:1.9
BLZ:0.2 DOT:4 BANANA:18 TRB:34 FTT:0.9 LOOM:0.05 OGN:0.07 RDNT:0.03 ARK:0.4 BNT:0.6 CANTO:0.03 REQ:0.12 BIGTIME:0.05
KAS:0.08 ORBS:0.02 BLUR:0.09 TIA:1.7 BSV:27 ADA:0.6 TON:3 MINA:0.18 POLYX:0.13 GAS:3 PENDLE:4.2 STG:0.18 FET:0.7
STRAX:0.05 NEAR:2.4 MEME:0.0019 ORDI:8 BADGER:1.4 NEO:6 ZEN:9 FIL:2.3 PYTH:0.11 SUSHI:0.7 ILV:12 IMX:0.5 kBONK:0.017
GMT:0.05 SUPER:0.6 USTC:0.012 NFTI:17 JUP:0.45 kLUNC:0.06 RSR:0.007 GALA:0.016 JTO:1.8 NTRN:0.1 ACE:0.6 MAV:0.06
WIF:0.8 CAKE:2.5 PEOPLE:0.019 ENS:22 ETC:18 XAI:0.05 MANTA:0.22 UMA:1.2 ONDO:0.85 ALT:0.03 ZETA:0.19 DYM:0.25 MAVIA:0.15
W:0.07 PANDORA:1200 STRK:0.13 PIXEL:0.03 AI:0.12 TAO:350 AR:6 MYRO:0.02 kFLOKI:0.08 BOME:0.0018 ETHFI:1.1 ENA:0.45
MNT:0.8 TNSR:0.13 SAGA:0.25 MERL:0.1 HBAR:0.2 POPCAT:0.3 OMNI:2.1 EIGEN:1.3 REZ:0.011 NOT:0.0019 TURBO:0.004
BRETT:0.05 IO:0.6 ZK:0.05 BLAST:0.002 LISTA:0.2 MEW:0.003 RENDER:3.6 kDOGS:0.13 POL CATI:0.1 CELO:0.3 HMSTR:0.0007
SCR:0.3 NEIROETH:0.04 kNEIRO:0.4 GOAT:0.09 MOODENG:0.15 GRASS:1.2 PURR:0.15 PNUT:0.2 XLM:0.3 CHILLGUY:0.05 SAND:0.26
IOTA:0.18 ALGO:0.2 HYPE ME:0.7 MOVE:0.15 VIRTUAL:1.4 PENGU:0.02 USUAL:0.08 FARTCOIN:1 AI16Z:0.16 AIXBT:0.14
ZEREBRO:0.03 BIO:0.06 GRIFFAIN:0.05 SPX:1.2 S:0.3 MORPHO:1.6 TRUMP:9 MELANIA:0.2 ANIME:0.016 VINE:0.05 VVV:2.6
JELLY:0.03 BERA:2 TST:0.03 LAYER:0.6 IP:5 OM:0.25 KAITO:1.5 NIL:0.3 PAXG:3400 PROMPT:0.15 BABY:0.05 WCT:0.3
HYPER:0.15 ZORA:0.05 INIT:0.4 DOOD:0.004 LAUNCHCOIN:0.1 NXPC:0.7 SOPH:0.03 RESOLV:0.16 SYRUP:0.5 PUMP:0.004 PROVE:0.9
YZY:0.5 XPL:0.8 WLFI:0.2 LINEA:0.02 SKY:0.07 ASTER:1.6 AVNT:1 STBL:0.3 0G:3 HEMI:0.06 APEX:1 2Z:0.3 ZEC:300 MON:0.03
MET:0.4 MEGA:0.4 CC:0.1 ICP:5 AERO:0.9 STABLE:0.03 FOGO:0.1 LIT:2.1 XMR:350 AXS:1.3 DASH:60 SKR:0.02 ZAMA:0.03 BREV:0.3
"""
_DELISTED = """
MATIC RNDR FTM HPOS RLB UNIBOT OX FRIEND SHIA CYBER BLZ LOOM OGN RDNT BNT CANTO REQ ORBS STG STRAX BADGER ILV NFTI NTRN
PANDORA PIXEL AI MYRO LISTA kDOGS CATI JELLY
"""
_QUIET = {"BTC": 0.0, "ETH": 0.0, "SOL": 0.001, "HYPE": 0.002, "XRP": 0.01, "DOGE": 0.02}
_BUILDER = (
    "XYZ100:24000 TSLA:430 NVDA:175 AAPL:275 MSFT:490 GOOGL:310 AMZN:225 META:650 HOOD:120 INTC:38 PLTR:185 COIN:270 "
    "ORCL:200 GOLD:4200 SILVER:55 MU:240"
)
_SPOT_TOKENS = {
    1: ("PURR", 0, 0.15), 2: ("HFUN", 2, 21.0), 3: ("LICK", 1, 0.01), 4: ("MANLET", 0, 0.002), 5: ("JEFF", 0, 0.05),
    6: ("SIX", 2, 0.1), 7: ("WAGMI", 0, 0.01), 8: ("CAPPY", 1, 0.01), 9: ("POINTS", 0, 0.002), 12: ("GMEOW", 0, 0.004),
    13: ("PIP", 1, 12.0), 54: ("SCHIZO", 1, 0.02), 63: ("CATBAL", 0, 0.03),
    85: ("FARM", 1, 0.01), 91: ("SPH", 0, 0.002),
    126: ("SOVRN", 1, 0.02), 150: ("HYPE", 2, 28.0), 160: ("BUDDY", 0, 0.01), 166: ("USOL", 3, 140.0),
    197: ("UBTC", 5, 64_000.0), 221: ("UETH", 4, 3_000.0),
}  # fmt: skip
_SPOT_INDEX_OF_TOKEN = {1: 0, 150: 107, 160: 115, 166: 156, 197: 142, 221: 151}


def default_markets() -> tuple[MarketSpec, ...]:
    """Some 270 markets: perps in the exchange's order, one builder dex ``xyz``, spot pairs."""
    return (*_perps(), *_builders(), *_spots())


def first_perps(count: int, now_ms: int) -> tuple[MarketSpec, ...]:
    """``count`` perps that trade at ``now_ms``, in the exchange's order; volumes fall along it.

    Where the catalogue has no more, made-up ones follow: ``MADE200``, ``MADE201`` and so on.
    """
    trading = [perp for perp in _perps() if perp.lists_at(now_ms) and not perp.is_delisted_at(now_ms)]
    made = (_perp(f"MADE{rank}", rank, 1.0, 1, 3, day("2024-01-01")) for rank in range(len(trading), count))
    return (*trading[:count], *made)


def markets_named(*coins: str) -> tuple[MarketSpec, ...]:
    """These of the default markets, in the catalogue's order.

    Raises:
        KeyError: a coin the catalogue does not have.
    """
    missing = set(coins) - {market.coin for market in default_markets()}
    if missing:
        raise KeyError(f"{sorted(missing)}: not in the catalogue of default_markets(); names are case-sensitive")
    return tuple(market for market in default_markets() if market.coin in coins)


def _perps() -> list[MarketSpec]:
    specs = []
    for rank, entry in enumerate(_PERPS.split()):
        coin, _, price = entry.partition(":")
        if coin in _MAJORS:
            value, decimals, leverage, listed = _MAJORS[coin]
            specs.append(_perp(coin, rank, float(value), decimals, leverage, day(listed)))
        else:
            decimals = _size_decimals(float(price))
            specs.append(_perp(coin, rank, float(price), decimals, (3, 5, 10)[_draw(coin, "leverage", 3)], None))
    return specs


def _perp(coin: str, rank: int, price: float, decimals: int, leverage: int, listed_ms: int | None) -> MarketSpec:
    listed = day("2023-06-01") + _draw(coin, "listed", 480) * DAY_MS if listed_ms is None else listed_ms
    delisted = None
    if coin in _DELISTED.split():
        delisted = _MATIC_DELISTED if coin == "MATIC" else listed + (300 + _draw(coin, "delisted", 300)) * DAY_MS
    trades = max(0.6, 150.0 / (1 + rank) ** 0.8)
    return MarketSpec(
        coin,
        price,
        decimals,
        leverage,
        listed_ms=listed,
        delisted_ms=delisted,
        reference_ms=day("2020-08-19") if coin == "BTC" else None,
        quiet=_QUIET.get(coin, min(0.6, 0.02 + rank * 0.0025)),
        trades_a_minute=trades,
        coins_a_trade=2_000.0 / price,
        volatility=0.0004 if coin in _QUIET else 0.0009,
        only_isolated=leverage == 3 and delisted is not None,
    )


def _builders() -> list[MarketSpec]:
    specs = []
    for rank, entry in enumerate(_BUILDER.split()):
        name, _, price = entry.partition(":")
        listed = day("2025-10-13") + rank * 2 * DAY_MS + 13 * 60 * MINUTE_MS
        specs.append(
            MarketSpec(
                f"xyz:{name}",
                float(price),
                3,
                10,
                kind=MarketKind.BUILDER,
                dex="xyz",
                listed_ms=listed,
                delisted_ms=listed + 120 * DAY_MS if name == "MU" else None,
                quiet=0.3,
                trades_a_minute=3.0,
                coins_a_trade=1_000.0 / float(price),
                volatility=0.0003,
            )
        )
    return specs


def _spots() -> list[MarketSpec]:
    specs = []
    for token, (name, decimals, price) in _SPOT_TOKENS.items():
        index = _SPOT_INDEX_OF_TOKEN.get(token, token - 1)
        specs.append(
            MarketSpec(
                "PURR/USDC" if index == 0 else f"@{index}",
                price,
                decimals,
                1,
                kind=MarketKind.SPOT,
                listed_ms=day("2024-04-16") + index * 2 * DAY_MS,
                quiet=0.05 if index in (107, 142, 151) else 0.7,
                trades_a_minute=20.0 if index == 107 else 1.5,
                coins_a_trade=500.0 / price,
                volatility=0.0008,
                token=token,
                token_name=name,
                spot_index=index,
            )
        )
    return specs


def _size_decimals(price: float) -> int:
    """The exchange gives dear coins more size decimals."""
    return next((decimals for decimals, floor in enumerate((1, 10, 50, 500, 2_500)) if price < floor), 5)


def _draw(coin: str, word: str, choices: int) -> int:
    return stream_key("catalogue", coin, word) % choices
