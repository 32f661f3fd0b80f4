"""The model as a LangChain chat model of this process: asked in OpenAI's words, it answers in them."""
