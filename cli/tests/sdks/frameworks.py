"""Agent frameworks, one tool-using run each."""

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from table import PROVIDERS, feature

OPENAI = "OpenAI: agent frameworks"
ANTHROPIC = "Anthropic: agent frameworks"
WET = "Is it wet in Lisbon?"
SAID = "The tool says: wet in Lisbon"

# Nothing of a run is told to anybody else.
set_tracing_disabled(True)


async def agents_run(seat, model, streamed):
    calls = []

    @function_tool
    def weather(city: str) -> str:
        """The weather somewhere."""
        calls.append(city)
        return f"wet in {city}"

    settings = ModelSettings(tool_choice="required" if seat.is_small else None, max_tokens=60)
    agent = Agent(name="forecaster", model=model, tools=[weather], model_settings=settings)
    if streamed:
        result = Runner.run_streamed(agent, WET, max_turns=3)
        kinds = {event.type async for event in result.stream_events()}
        assert {"raw_response_event", "run_item_stream_event"} <= kinds, kinds
    else:
        result = await Runner.run(agent, WET, max_turns=3)
    assert seat.is_small or (calls, result.final_output) == (["Lisbon"], SAID), (calls, result.final_output)


# What a model of a megabyte writes for a free text is cut somewhere, and no JSON then.
@feature(OPENAI, "`openai-agents` over chat", at=PROVIDERS, kinds=("async",))
async def agents_chat(seat):
    for streamed in (False, True):
        await agents_run(seat, OpenAIChatCompletionsModel(seat.model, openai_client=seat.client), streamed)


@feature(OPENAI, "`openai-agents` over responses", at=PROVIDERS, kinds=("async",))
async def agents_responses(seat):
    for streamed in (False, True):
        await agents_run(seat, OpenAIResponsesModel(seat.model, openai_client=seat.client), streamed)


def langchain_run(seat, chat):
    @tool
    def weather(city: str) -> str:
        """The weather somewhere."""
        return f"wet in {city}"

    asked = HumanMessage(WET)
    bound = chat.bind_tools([weather])
    called = bound.invoke([asked])
    call = called.tool_calls[0]
    told = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    after = bound.invoke([asked, called, told])
    assert after.text == SAID, after
    pieces = [piece.text for piece in bound.stream([asked, called, told])]
    assert "".join(pieces) == SAID and after.usage_metadata["total_tokens"] > 0, pieces


@feature(OPENAI, "`langchain-openai`", at=PROVIDERS, kinds=("sync",))
async def langchain_openai(seat):
    known = dict(model=seat.model, base_url=f"{seat.base}/v1", api_key="any", max_retries=0)
    for responses in (False, True):
        langchain_run(seat, ChatOpenAI(**known, use_responses_api=responses))


@feature(ANTHROPIC, "`pydantic-ai`", at=PROVIDERS, kinds=("async",))
async def pydantic_ai(seat):
    model = AnthropicModel(seat.model, provider=AnthropicProvider(anthropic_client=seat.client))
    agent = PydanticAgent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather somewhere."""
        return f"wet in {city}"

    result = await agent.run(WET)
    assert result.output == SAID, result.output
    async with agent.run_stream(WET) as streamed:
        assert await streamed.get_output() == SAID
