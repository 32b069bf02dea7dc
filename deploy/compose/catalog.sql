create database catalog;
