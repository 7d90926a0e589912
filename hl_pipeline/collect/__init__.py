"""Joins source and storage: plan -> fetch -> land -> prove. Knows no Dagster and parses nothing."""
