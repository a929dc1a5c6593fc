"""Which of the demonstrations that were found a student is shown: those that help it do what the teacher did."""

from atlas.reranking.learned import LearnedReranker
from atlas.reranking.reranker import Reranker, load_reranker, reranked

__all__ = ["LearnedReranker", "Reranker", "load_reranker", "reranked"]
